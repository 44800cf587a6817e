//! Favourites.

use std::sync::Arc;

use larder::Result;
use larder_tests::hot::HotEngine;

use crate::app::TestApp;
use crate::client::Article;

async fn liking_is_counted_once_for_each(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    ada.publish("On", &["x"]).await;
    for (client, count) in [(&ada, 1), (&bob, 2), (&bob, 2)] {
        let liked = client.post_nothing("/articles/on/favorite").await.ends(200);
        let liked: Article = liked.read("article");
        assert_eq!((liked.favorited, liked.favorites_count), (true, count));
        assert_eq!(client.article("on").await, liked);
    }
    let seen = app.visitor().article("on").await;
    assert_eq!((seen.favorited, seen.favorites_count), (false, 2));
    for (client, count) in [(&bob, 1), (&bob, 1), (&ada, 0)] {
        let left = client.delete("/articles/on/favorite").await.ends(200);
        let left: Article = left.read("article");
        assert_eq!((left.favorited, left.favorites_count), (false, count));
    }
    Ok(())
}

async fn nothing_that_is_not_there_is_liked(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let path = "/articles/none/favorite";
    ada.post_nothing(path)
        .await
        .refuses(404, "article", "not found");
    ada.delete(path).await.refuses(404, "article", "not found");
    Ok(())
}

crate::tests![
    liking_is_counted_once_for_each,
    nothing_that_is_not_there_is_liked
];
