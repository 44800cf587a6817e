use larder_core::models::{Post, User};
use larder_core::{Db, Memory};

fn main() {
    let db = Db::new(Memory::new());
    let _ = db.query::<User>().filter(Post::SEARCH.matches("fox"));
    let _ = db.query::<User>().order(Post::SEARCH.best_first());
}
