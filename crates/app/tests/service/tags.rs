//! The list of tags.

use std::sync::Arc;

use larder::Result;
use larder_tests::hot::HotEngine;
use serde_json::json;

use crate::app::TestApp;

async fn the_most_used_tags_come_first(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    assert_eq!(
        visitor.get("/tags").await.ends(200).body,
        json!({"tags": []})
    );
    let ada = app.user("ada").await;
    ada.publish("1", &["rare", "often"]).await;
    ada.publish("2", &["often", "sometimes"]).await;
    ada.publish("3", &["sometimes", "often"]).await;
    let tags: Vec<String> = visitor.get("/tags").await.ends(200).read("tags");
    assert_eq!(tags, ["often", "sometimes", "rare"]);
    ada.delete("/articles/1").await.ends(204);
    let tags: Vec<String> = visitor.get("/tags").await.ends(200).read("tags");
    assert_eq!(
        tags,
        ["often", "sometimes"],
        "what no article has is not shown"
    );
    Ok(())
}

crate::tests![the_most_used_tags_come_first];
