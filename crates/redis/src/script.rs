//! [`Script`]: a piece of Lua that Redis runs atomically, called by its hash.

use std::sync::LazyLock;

use bytes::Bytes;
use fred::clients::Client as Driver;
use fred::error::Error as DriverError;
use fred::interfaces::LuaInterface;
use fred::types::scripts::Script as Source;
use fred::types::{Key, Value};
use larder_core::Result;
use larder_core::rows::BoxFuture;

use crate::client::Client;
use crate::error::{Effect, classify, code};

/// A script, as a `static`: its hash is computed once.
///
/// Scripts MUST touch no key but those given and those whose name begins as theirs do: the hash
/// tag of the namespace puts all on one shard.
pub(crate) struct Script {
    source: LazyLock<Source>,
    effect: Effect,
}

impl Script {
    /// A script and what it does. `source` is `|| Source::from_lua(..)`.
    pub(crate) const fn new(effect: Effect, source: fn() -> Source) -> Self {
        Self {
            source: LazyLock::new(source),
            effect,
        }
    }

    /// Runs the script, once: a server that does not know it yet has not run it, and is given it.
    ///
    /// # Errors
    /// `Unavailable` before anything was sent; of a script that writes, `Unknown` if the answer is
    /// lost. A server's refusal by its code.
    pub(crate) async fn run(
        &self,
        client: &Client,
        keys: Vec<Bytes>,
        arguments: Vec<Bytes>,
    ) -> Result<Value> {
        let keys: Vec<Key> = keys.into_iter().map(Key::from).collect();
        let arguments: Vec<Value> = arguments.into_iter().map(Value::Bytes).collect();
        let driver = client.ready().await?;
        // In boxes of their own: the driver's futures are large.
        let answer = match self.call(driver, keys.clone(), arguments.clone()).await {
            Err(error) if code(&error) == Some("NOSCRIPT") => {
                let loaded = Box::pin(self.source.load(driver)).await;
                loaded.map_err(|error| classify(error, Effect::Reads))?;
                self.call(driver, keys, arguments).await
            }
            answer => answer,
        };
        answer.map_err(|error| classify(error, self.effect))
    }

    fn call<'a>(
        &self,
        driver: &'a Driver,
        keys: Vec<Key>,
        arguments: Vec<Value>,
    ) -> BoxFuture<'a, std::result::Result<Value, DriverError>> {
        Box::pin(driver.evalsha(self.source.sha1().clone(), keys, arguments))
    }
}

/// Declares a script: `script!(static TAKE: Writes = "return redis.call('INCR', KEYS[1])");`.
macro_rules! script {
    ($vis:vis static $name:ident: $effect:ident = $lua:expr) => {
        $vis static $name: $crate::script::Script = $crate::script::Script::new(
            $crate::error::Effect::$effect,
            || fred::types::scripts::Script::from_lua($lua),
        );
    };
}

pub(crate) use script;
