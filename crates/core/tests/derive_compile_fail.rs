//! What the compiler says about the likeliest mistakes. After a deliberate change of a message,
//! run with `TRYBUILD=overwrite` and read the difference.

#[test]
fn mistakes_are_explained_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
