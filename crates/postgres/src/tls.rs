//! Encryption by rustls, and what it takes a server's certificate for.
//!
//! Certificates are checked here and not by rustls' own verifier for three reasons, all of them
//! libpq's: `sslmode=require` and `prefer` encrypt without asking who the server is; `verify-ca`
//! asks who has signed the certificate and not for which host it is; and a server's self-signed
//! certificate may itself be given as the one to trust, even if it says that it is a root's.
//!
//! Whatever is asked for, the server must show that it holds the certificate's key: without that,
//! channel binding (SCRAM) would bind to nothing.

use std::sync::Arc;

use larder_core::{Error, ErrorKind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::encryption::{Proof, Roots};
use crate::options::PostgresOptions;

/// What encrypts connections.
pub(crate) type Tls = MakeRustlsConnect;

/// Makes it ready. Reads the files of whom to trust, if that matters.
pub(crate) fn load(options: &PostgresOptions) -> Result<Tls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new(&options.proof, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // Servers ask for it if there is no word of PostgreSQL's own before (`sslnegotiation=direct`).
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Tls::new(config))
}

/// Judges certificates.
#[derive(Debug)]
struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    /// `None`: any signer will do.
    trusted: Option<Trusted>,
    checks_host: bool,
}

/// Whose signatures count.
#[derive(Debug)]
struct Trusted {
    roots: RootCertStore,
    /// The roots again, word by word, if they are from a file.
    given: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(proof: &Proof, provider: &CryptoProvider) -> Result<Self> {
        let (roots, checks_host) = match proof {
            Proof::Nothing => (None, false),
            Proof::Signer(roots) => (Some(roots), false),
            Proof::SignerAndHost(roots) => (Some(roots), true),
        };
        Ok(Self {
            algorithms: provider.signature_verification_algorithms,
            trusted: roots.map(Trusted::load).transpose()?,
            checks_host,
        })
    }
}

impl Trusted {
    fn load(roots: &Roots) -> Result<Self> {
        let given = match roots {
            Roots::System => rustls_native_certs::load_native_certs().certs,
            Roots::File(path) => CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .map_err(|error| unreadable(roots).with_source(error))?,
        };
        let mut store = RootCertStore::empty();
        let (usable, _) = store.add_parsable_certificates(given.iter().cloned());
        if usable == 0 {
            return Err(unreadable(roots));
        }
        Ok(Self {
            roots: store,
            given: match roots {
                Roots::System => Vec::new(),
                Roots::File(_) => given,
            },
        })
    }

    fn check(
        &self,
        parsed: &ParsedCertificate<'_>,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), TlsError> {
        let algorithms = algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(
            parsed,
            &self.roots,
            between,
            now,
            algorithms,
        ) {
            // A root's certificate that a server shows as its own; its dates have been checked.
            Err(TlsError::InvalidCertificate(CertificateError::Other(_)))
                if self.given.iter().any(|given| given == shown) =>
            {
                Ok(())
            }
            outcome => outcome,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if let Some(trusted) = &self.trusted {
            let parsed = ParsedCertificate::try_from(shown)?;
            trusted.check(&parsed, shown, between, now, &self.algorithms)?;
            if self.checks_host {
                verify_server_name(&parsed, host)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn unreadable(roots: &Roots) -> Error {
    match roots {
        Roots::System => Error::new(
            ErrorKind::Unavailable,
            "this system trusts nobody to sign certificates: install its ca-certificates, or give \
             the root's file as sslrootcert=PATH",
        )
        .retryable(false),
        Roots::File(path) => Error::misuse(format!(
            "no certificate could be read from the file given as sslrootcert, {}: it must be in \
             PEM form",
            path.display()
        )),
    }
}

/// The error of a handshake that failed; `None` for what else the driver says.
pub(crate) fn explain(error: &tokio_postgres::Error) -> Option<Error> {
    let message = match cause(error)? {
        TlsError::InvalidCertificate(reason) => certificate_refused(reason),
        _ => "encryption could not be agreed on with the server",
    };
    Some(Error::new(ErrorKind::Unavailable, message).retryable(false))
}

/// What rustls said, inside what the driver said.
fn cause(error: &tokio_postgres::Error) -> Option<&TlsError> {
    let source = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    source.get_ref()?.downcast_ref::<TlsError>()
}

fn certificate_refused(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host: use the host name that it is for, or \
             have one made for this name (as subjectAltName)"
        }
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by nobody whom this side trusts: give the file of \
             the root that signed it as sslrootcert=PATH"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: have it renewed"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: check the clocks"
        }
        _ => {
            "the server's certificate is not acceptable; if it is self-signed, give its file as \
             sslrootcert=PATH"
        }
    }
}
