//! Full-text search: what is found, and in which order.

use fastrand::Rng;
use larder_core::models::{Comment, NewPost, Post, User};
use larder_core::search::{WORD_CHARS_MAX, WORDS_MAX};
use larder_core::{Db, Error, ErrorKind, Load, Predicate, Result, SearchQuery};

use crate::fixtures::{comment, post, refused, user};
use crate::harness::{TestDb, tests};
use crate::schema::Note;

fn note(id: i64, title: &str, text: Option<&str>) -> Note {
    Note {
        id,
        title: title.to_owned(),
        text: text.map(str::to_owned),
        parent: None,
    }
}

/// Notes with these texts, numbered from 1.
async fn notes(db: &Db, texts: &[(&str, Option<&str>)]) -> Result<()> {
    let notes = texts.iter().zip(1..);
    db.insert_all(notes.map(|((title, text), id)| note(id, title, *text)))
        .await?;
    Ok(())
}

/// The notes that satisfy the condition.
async fn taken(db: &Db, condition: Predicate<Note>) -> Result<Vec<i64>> {
    let notes = db.query::<Note>().filter(condition).order(Note::ID.asc());
    notes.select(Note::ID).all().await
}

async fn found(db: &Db, search: &str) -> Result<Vec<i64>> {
    taken(db, Note::SEARCH.matches(search)).await
}

/// The same, the best first.
async fn ranked(db: &Db, search: &str) -> Result<Vec<i64>> {
    let notes = db.query::<Note>().filter(Note::SEARCH.matches(search));
    let notes = notes.order(Note::SEARCH.best_first());
    notes.select(Note::ID).all().await
}

/// Whether the engine cannot search, and says so.
async fn cannot(db: &Db) -> Result<bool> {
    if db.capabilities().full_text {
        return Ok(false);
    }
    refused(found(db, "fox").await, ErrorKind::Unsupported);
    refused(ranked(db, "fox").await, ErrorKind::Unsupported);
    Ok(true)
}

const NONE: [i64; 0] = [];

async fn words_phrases_beginnings_and_exclusions(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let texts = [
        ("The quick fox", Some("It is brown.")),
        ("Quick!", Some("A fox is not a dog; quick, fox!")),
        ("Foxes", None),
        ("brown quick", Some("fox")),
    ];
    notes(&db, &texts).await?;
    for (search, expected) in [
        ("quick fox", vec![1, 2, 4]),
        ("FOX Quick", vec![1, 2, 4]),
        ("\"quick fox\"", vec![1, 2]),
        ("fox*", vec![1, 2, 3, 4]),
        ("foxe*", vec![3]),
        ("\"quick fo\"*", vec![1, 2]),
        ("\"brown qui\"* fox", vec![4]),
        ("quick -dog", vec![1, 4]),
        ("quick -\"quick fox\"", vec![4]),
        ("fox* -fox", vec![3]),
        ("fox* -bro* -\"a dog\"", vec![3]),
        ("brown-quick", vec![4]),
        ("quick cat", vec![]),
        ("uick", vec![]),
    ] {
        assert_eq!(found(&db, search).await?, expected, "{search}");
    }
    Ok(())
}

async fn a_phrase_stands_in_one_column(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    notes(&db, &[("ends with quick", Some("fox begins"))]).await?;
    assert_eq!(found(&db, "quick fox").await?, [1]);
    assert_eq!(found(&db, "\"quick fox\"").await?, NONE);
    assert_eq!(found(&db, "\"quick fox begins\"").await?, NONE);
    Ok(())
}

async fn words_are_what_the_rule_says(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let texts = [
        ("don't", Some("C++, e-mail: ada@example.com; 3.14e10")),
        ("“Quoted” – l’été…", Some("«naïve»\u{a0}Straße")),
        ("ÉTÉ İstanbul", Some("東京 tower 👩‍👩‍👧")),
        ("snake_case|pipe", Some("a\u{2003}b\u{2028}c")),
    ];
    notes(&db, &texts).await?;
    for (search, expected) in [
        ("don", vec![1]),
        ("don't", vec![1]),
        ("t don", vec![1]),
        ("\"t don\"", vec![]),
        ("c", vec![1]),
        ("example", vec![1]),
        ("14e10", vec![1]),
        ("3.14e10", vec![1]),
        ("quoted été", vec![2]),
        ("l'été", vec![2]),
        ("NAÏVE", vec![]),
        ("naïve straße", vec![2]),
        ("Été", vec![]),
        ("ÉtÉ", vec![3]),
        ("İSTANBUL", vec![3]),
        ("東京", vec![3]),
        ("東*", vec![3]),
        ("京", vec![]),
        ("👩‍👩‍👧", vec![3]),
        ("case pipe", vec![4]),
        ("|", vec![]),
        ("b", vec![]),
        ("a b\u{2028}c", vec![4]),
        ("a\u{2003}b\u{2028}c", vec![4]),
    ] {
        assert_eq!(found(&db, search).await?, expected, "{search}");
    }
    Ok(())
}

async fn a_search_without_words_finds_nothing(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    notes(&db, &[("fox", None), ("", Some("")), ("' '", None)]).await?;
    for search in ["", "  ", "!?", "-fox", "- * \"\"", "-\"a b\""] {
        assert_eq!(found(&db, search).await?, NONE, "{search}");
        assert_eq!(ranked(&db, search).await?, NONE, "{search}");
        let others = taken(&db, !Note::SEARCH.matches(search)).await?;
        assert_eq!(others, [1, 2, 3], "{search}");
    }
    Ok(())
}

async fn searches_combine_with_other_conditions(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let texts = [
        ("quick fox", None),
        ("quick", Some("dog")),
        ("slow fox", None),
        ("nothing", None),
    ];
    notes(&db, &texts).await?;
    let search = |text| Note::SEARCH.matches(text);
    assert_eq!(taken(&db, search("quick") & search("fox")).await?, [1]);
    assert_eq!(taken(&db, search("dog") | search("slow")).await?, [2, 3]);
    assert_eq!(taken(&db, !search("quick")).await?, [3, 4]);
    let short = Note::TEXT.is_null() & !search("fox");
    assert_eq!(taken(&db, short).await?, [4]);
    assert_eq!(
        taken(&db, search("\"quick fox\"") & Note::ID.gt(1)).await?,
        NONE
    );
    let quick = || db.query::<Note>().filter(search("quick"));
    assert_eq!(quick().count().await?, 2);
    assert!(quick().exists().await?);
    assert_eq!(quick().order(Note::ID.desc()).page(1).await?.items[0].id, 2);
    assert!(
        !quick().filter(Note::ID.eq(1)).explain().await?.is_empty(),
        "says how it searches"
    );
    Ok(())
}

#[derive(Load, Debug)]
#[load(User)]
struct Author {
    name: String,
    #[load(via = Post::AUTHOR_ID, filter = Post::SEARCH.matches("\"about fox\""))]
    posts: Vec<Post>,
    #[load(count, via = Post::AUTHOR_ID, filter = Post::SEARCH.matches("say -fox"))]
    others: u64,
}

async fn related_rows_can_be_searched(db: TestDb) -> Result<()> {
    if !db.capabilities().full_text {
        let refusal = db.query::<User>().load::<Author>().await;
        // Nobody to load for is no reason to refuse.
        assert!(refusal?.is_empty());
        user(&db, 1).await?;
        refused(
            db.query::<User>().load::<Author>().await,
            ErrorKind::Unsupported,
        );
        return Ok(());
    }
    let ada = user(&db, 1).await?;
    let fox = post(&db, &ada, "fox").await?;
    let dog = post(&db, &ada, "dog").await?;
    comment(&db, &fox, &ada, "yes").await?;
    comment(&db, &dog, &ada, "no").await?;
    let on_foxes = Comment::POST_ID.whose(Post::SEARCH.matches("fox"));
    let comments = db.query::<Comment>().filter(on_foxes).all().await?;
    assert_eq!(comments.len(), 1);
    assert_eq!(comments[0].content, "yes");
    let authors = db.query::<User>().load::<Author>().await?;
    assert_eq!(authors[0].name, "User 1");
    assert_eq!(authors[0].posts, [fox]);
    assert_eq!(authors[0].others, 1);
    Ok(())
}

async fn the_index_follows_every_write(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    // Many go another way than few, on some engines.
    db.insert_all((1..=300).map(|id| note(id, &format!("w{id}"), Some("many"))))
        .await?;
    assert_eq!(found(&db, "w300").await?, [300]);
    assert_eq!(found(&db, "many").await?.len(), 300);
    db.insert(note(301, "single", None)).await?;
    assert_eq!(found(&db, "single").await?, [301]);

    let rows = [note(301, "upserted", None), note(302, "added", None)];
    let upsert = db.upsert(rows).on(Note::ID);
    upsert.update(Note::TITLE).run().await?;
    assert_eq!(found(&db, "single").await?, NONE);
    assert_eq!(found(&db, "upserted").await?, [301]);
    assert_eq!(found(&db, "added").await?, [302]);
    let ignored = db.upsert([note(302, "ignored", None)]).on(Note::ID);
    ignored.ignore().run().await?;
    assert_eq!(found(&db, "ignored").await?, NONE);

    let many = db.query::<Note>().filter(Note::SEARCH.matches("many"));
    let some = many.filter(Note::ID.le(10));
    assert_eq!(some.update(Note::TEXT.set("some “few”")).await?, 10);
    assert_eq!(found(&db, "few w7").await?, [7]);
    assert_eq!(found(&db, "many").await?.len(), 290);
    let few = db.query::<Note>().filter(Note::SEARCH.matches("few"));
    assert_eq!(few.delete().await?, 10);
    assert_eq!(found(&db, "few").await?, NONE);
    assert_eq!(found(&db, "w*").await?.len(), 290);
    consistent(&db).await
}

async fn the_index_follows_cascades(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    db.insert(note(1, "root", None)).await?;
    let child = |id, parent| Note {
        parent: Some(parent),
        ..note(id, "child", None)
    };
    db.insert_all([child(2, 1), child(3, 2)]).await?;
    assert_eq!(found(&db, "child").await?, [2, 3]);
    assert!(db.delete::<Note>(1).await?);
    assert_eq!(found(&db, "child").await?, NONE);
    assert_eq!(found(&db, "root").await?, NONE);
    // The same keys once more: nothing of the old rows is left.
    db.insert_all([note(2, "other", None), note(3, "other", None)])
        .await?;
    assert_eq!(found(&db, "child").await?, NONE);
    assert_eq!(found(&db, "other").await?, [2, 3]);
    consistent(&db).await
}

async fn the_index_follows_transactions(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    db.insert(note(1, "before", None)).await?;
    let undone: Result<()> = db
        .transaction(|tx| async move {
            tx.insert(note(2, "within", None)).await?;
            tx.query::<Note>().update(Note::TEXT.set("changed")).await?;
            assert_eq!(found(&tx, "changed").await?, [1, 2]);
            let inner: Result<()> = tx
                .transaction(|inner| async move {
                    inner.query::<Note>().delete().await?;
                    assert_eq!(found(&inner, "changed").await?, NONE);
                    Err(Error::misuse("undo this"))
                })
                .await;
            refused(inner, ErrorKind::Misuse);
            assert_eq!(found(&tx, "within").await?, [2]);
            // A write that fails half-way is undone in the index too.
            let twice = [note(3, "third", None), note(1, "taken", None)];
            refused(tx.insert_all(twice).await, ErrorKind::Unique);
            assert_eq!(found(&tx, "third").await?, NONE);
            Err(Error::misuse("undo all"))
        })
        .await;
    refused(undone, ErrorKind::Misuse);
    assert_eq!(found(&db, "within").await?, NONE);
    assert_eq!(found(&db, "changed").await?, NONE);
    assert_eq!(found(&db, "before").await?, [1]);
    consistent(&db).await
}

/// Has SQLite compare its index with the table.
async fn consistent(db: &Db) -> Result<()> {
    if db.capabilities().raw_sql == Some("sqlite") {
        let check = "INSERT INTO notes_search (notes_search, rank) VALUES ('integrity-check', 1)";
        db.sql(check).execute().await?;
    }
    Ok(())
}

async fn the_best_come_first(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let texts = [
        ("fox", Some("and four words more")),
        ("fox fox fox", Some("and two more")),
        (
            "fox",
            Some("and what makes a much longer text of many more words than that"),
        ),
        ("fox fox", Some("and two words more")),
        ("fox", Some("and four words more")),
        ("dog", Some("and four words more")),
    ];
    notes(&db, &texts).await?;
    assert_eq!(ranked(&db, "fox").await?, [2, 4, 1, 5, 3]);
    assert_eq!(ranked(&db, "fox -longer").await?, [2, 4, 1, 5]);
    assert_eq!(ranked(&db, "fox*").await?, [2, 4, 1, 5, 3]);
    let best = || {
        let notes = db.query::<Note>().filter(Note::ID.ne(2));
        let notes = notes.filter(Note::SEARCH.matches("fox words"));
        notes.order(Note::SEARCH.best_first())
    };
    assert_eq!(best().first().await?.map(|note| note.id), Some(4));
    let middle: Vec<_> = best().offset(1).limit(2).all().await?;
    assert_eq!(
        middle.iter().map(|note| note.id).collect::<Vec<_>>(),
        [1, 5]
    );
    assert_eq!(best().count().await?, 4);
    let by_title = db.query::<Note>().filter(Note::SEARCH.matches("more"));
    let by_title = by_title.order(Note::TITLE.desc());
    let by_title = by_title.order(Note::SEARCH.best_first());
    let ids = by_title.select(Note::ID).all().await?;
    assert_eq!(ids, [2, 4, 1, 5, 3, 6]);
    Ok(())
}

async fn where_no_rank_makes_sense_it_is_refused(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let search = || Note::SEARCH.matches("fox");
    let best = || db.query::<Note>().order(Note::SEARCH.best_first());
    refused(best().all().await, ErrorKind::Misuse);
    refused(best().filter(!search()).all().await, ErrorKind::Misuse);
    let either = search() | Note::ID.eq(1);
    refused(best().filter(either).all().await, ErrorKind::Misuse);
    let two = best().filter(search() & Note::SEARCH.matches("dog"));
    refused(two.all().await, ErrorKind::Misuse);
    refused(best().filter(search()).page(5).await, ErrorKind::Misuse);
    let distinct = best().filter(search()).distinct();
    refused(distinct.all().await, ErrorKind::Misuse);
    let grouped = best().filter(search()).group_by(Note::TITLE);
    refused(grouped.select(Note::TITLE).all().await, ErrorKind::Misuse);
    refused(best().filter(search()).delete().await, ErrorKind::Misuse);
    let upsert = db.upsert([note(1, "fox", None)]).on(Note::ID);
    let upsert = upsert.update(Note::TITLE).when(search());
    refused(upsert.run().await, ErrorKind::Misuse);
    Ok(())
}

#[derive(Load, Debug)]
#[load(User)]
#[allow(dead_code, reason = "it is refused")]
struct Ranked {
    name: String,
    #[load(via = Post::AUTHOR_ID, filter = Post::SEARCH.matches("fox"), order = Post::SEARCH.best_first())]
    posts: Vec<Post>,
}

async fn relations_are_not_ranked(db: TestDb) -> Result<()> {
    user(&db, 1).await?;
    refused(db.query::<User>().load::<Ranked>().await, ErrorKind::Misuse);
    Ok(())
}

async fn hostile_searches_are_words(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let mut texts = super::hostile::hostile();
    texts.extend(
        [
            "fox AND NOT",
            "NEAR(a b)",
            "title: fox",
            "^fox",
            "fox + dog",
            "{title text}: a",
            "a & b | !c <-> d",
            "fox:*",
            "'fox':A",
            "\\'",
            "(((",
            "\"\"\"",
            "- -\"",
            "*",
            "_s",
            "% _",
            "\\u0041",
            "\\1 \\& $1 ?1",
        ]
        .map(str::to_owned),
    );
    let rows = texts.iter().zip(1..);
    let rows: Vec<_> = rows.map(|(text, id)| note(id, text, Some(text))).collect();
    db.insert_all(rows.clone()).await?;
    for search in &texts {
        let query = SearchQuery::parse(search)?;
        let expected: Vec<_> = (rows.iter())
            .filter(|row| query.finds(&[&row.title, row.text.as_deref().unwrap_or("")]))
            .map(|row| row.id)
            .collect();
        assert_eq!(found(&db, search).await?, expected, "{search:?}");
        assert_eq!(
            ranked(&db, search).await?.len(),
            expected.len(),
            "{search:?}"
        );
    }
    Ok(())
}

async fn a_search_with_nul_is_words_too(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    notes(&db, &[("quick fox", None)]).await?;
    assert_eq!(found(&db, "fox\0quick").await?, NONE);
    assert_eq!(found(&db, "quick\0fox").await?, [1]);
    Ok(())
}

async fn long_words_and_long_searches_have_bounds(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let long = "é".repeat(WORD_CHARS_MAX + 50);
    let longest = "x".repeat(WORD_CHARS_MAX);
    let texts = [
        (long.as_str(), Some("beside")),
        (longest.as_str(), None),
        ("x", Some(&*"y".repeat(100_000))),
    ];
    notes(&db, &texts).await?;
    assert_eq!(found(&db, &long).await?, NONE);
    assert_eq!(found(&db, &format!("beside -{long}")).await?, [1]);
    assert_eq!(found(&db, &format!("\"{long} beside\"")).await?, NONE);
    let start = format!("{}*", &long[..2 * WORD_CHARS_MAX]);
    assert_eq!(found(&db, &start).await?, [1]);
    assert_eq!(found(&db, start.trim_end_matches('*')).await?, NONE);
    assert_eq!(found(&db, &longest).await?, [2]);
    assert_eq!(found(&db, &format!("{longest}x")).await?, NONE);
    assert_eq!(found(&db, &format!("x {}*", "y".repeat(200))).await?, [3]);

    let words: Vec<_> = (0..WORDS_MAX).map(|at| format!("w{at}")).collect();
    let all = words.join(" ");
    db.insert(note(4, "all", Some(&all))).await?;
    assert_eq!(found(&db, &all).await?, [4]);
    assert_eq!(ranked(&db, &all).await?, [4]);
    assert_eq!(found(&db, &format!("\"{all}\"")).await?, [4]);
    let pairs: Vec<_> = words.chunks(2).map(|pair| pair.join(".")).collect();
    assert_eq!(found(&db, &pairs.join(" ")).await?, [4]);
    let none_of = words[1..].iter().map(|word| format!(" -{word}"));
    let excluding = format!("beside{}", none_of.collect::<String>());
    assert_eq!(found(&db, &excluding).await?, [1]);
    refused(found(&db, &format!("{all} more")).await, ErrorKind::Invalid);
    Ok(())
}

async fn words_far_into_a_text_are_found(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let filler = "one two three ".repeat(12_000);
    let text = format!("{filler} quick fox {filler} last words");
    notes(&db, &[("long", Some(&text)), ("quick", Some("fox"))]).await?;
    assert_eq!(found(&db, "\"quick fox\"").await?, [1]);
    assert_eq!(found(&db, "\"last words\"").await?, [1]);
    assert_eq!(found(&db, "\"fox quick\"").await?, NONE);
    assert_eq!(found(&db, "\"words last\" long").await?, NONE);
    Ok(())
}

async fn texts_that_are_full_of_different_words_are_ranked(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let all: Vec<_> = (0..120_000).map(|at| format!("{at:x}z")).collect();
    notes(&db, &[("long fox", Some(&all.join(" "))), ("fox", None)]).await?;
    assert_eq!(ranked(&db, "fox").await?, [2, 1]);
    assert_eq!(found(&db, "ffffz 1234z").await?, [1]);
    Ok(())
}

/// A random text of few words, so that they meet, and of all kinds of marks.
fn text(rng: &mut Rng, marks: &[&str]) -> String {
    const WORDS: [&str; 14] = [
        "a", "b", "A", "ab", "abc", "Ab", "é", "É", "éa", "aé", "1", "1a", "東", "a1b",
    ];
    let mut text = String::new();
    for _ in 0..rng.usize(..9) {
        text.push_str(WORDS[rng.usize(..WORDS.len())]);
        for _ in 0..rng.usize(1..3) {
            text.push_str(marks[rng.usize(..marks.len())]);
        }
    }
    text
}

async fn every_engine_finds_what_the_rule_says(db: TestDb) -> Result<()> {
    const MARKS: [&str; 22] = [
        " ", " ", " ", "-", "'", "\"", "*", "_", "|", ".", "\n", "“", "’", "–", "…", "\u{a0}",
        "\u{2028}", "\u{200b}", "§", "\\", ":", "&",
    ];
    const SIGNS: [&str; 12] = [
        " ", " ", " ", " -", " \"", "\" ", "* ", "-", "’", "–", "\u{2003}", ".",
    ];
    if cannot(&db).await? {
        return Ok(());
    }
    let rng = &mut Rng::with_seed(7);
    let rows: Vec<Note> = (1..=250)
        .map(|id| {
            let second = rng.bool().then(|| text(rng, &MARKS));
            note(id, &text(rng, &MARKS), second.as_deref())
        })
        .collect();
    db.insert_all(rows.clone()).await?;
    let mut any = 0;
    for _ in 0..250 {
        let search = text(rng, &SIGNS);
        let query = SearchQuery::parse(&search)?;
        let expected: Vec<i64> = (rows.iter())
            .filter(|row| query.finds(&[&row.title, row.text.as_deref().unwrap_or("")]))
            .map(|row| row.id)
            .collect();
        assert_eq!(found(&db, &search).await?, expected, "{search:?} {query:?}");
        any += usize::from(!expected.is_empty());
    }
    assert!(any > 50, "only {any} searches found something");
    Ok(())
}

async fn posts_are_searched(db: TestDb) -> Result<()> {
    if !db.capabilities().full_text {
        let posts = db.query::<Post>().filter(Post::SEARCH.matches("fox"));
        refused(posts.all().await, ErrorKind::Unsupported);
        return Ok(());
    }
    let ada = user(&db, 1).await?;
    let fox = post(&db, &ada, "fox").await?;
    let foxes: NewPost = crate::fixtures::new_post(ada.id, "foxes", fox.status);
    db.insert(foxes).await?;
    let posts = db.query::<Post>().filter(Post::SEARCH.matches("about fox"));
    let posts = posts.order(Post::SEARCH.best_first());
    assert_eq!(posts.all().await?, [fox]);
    assert!(db.delete::<User>(ada.id).await?);
    let left = db.query::<Post>().filter(Post::SEARCH.matches("fox*"));
    assert_eq!(left.count().await?, 0);
    Ok(())
}

tests![
    words_phrases_beginnings_and_exclusions,
    a_phrase_stands_in_one_column,
    words_are_what_the_rule_says,
    a_search_without_words_finds_nothing,
    searches_combine_with_other_conditions,
    related_rows_can_be_searched,
    the_index_follows_every_write,
    the_index_follows_cascades,
    the_index_follows_transactions,
    the_best_come_first,
    where_no_rank_makes_sense_it_is_refused,
    relations_are_not_ranked,
    hostile_searches_are_words,
    a_search_with_nul_is_words_too,
    long_words_and_long_searches_have_bounds,
    words_far_into_a_text_are_found,
    texts_that_are_full_of_different_words_are_ranked,
    every_engine_finds_what_the_rule_says,
    posts_are_searched,
];
