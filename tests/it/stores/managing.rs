//! What the contracts about managing links have in common.

use shunt::{
    links::{
        Alias, Created, Edit, EditRefusal, Editor, LinkChange, LinkRecord, LookUp, NewLink,
        Operation, Part, Title, Version,
    },
    owner::Owner,
};

use super::place::{Opened, code, url};

pub(super) fn owner(name: &str) -> Option<Owner> {
    Some(Owner::parse(name).expect("a name"))
}

pub(super) fn editor(name: &str) -> Editor {
    Editor::Owner(Owner::parse(name).expect("a name"))
}

pub(super) fn alias(text: &str) -> Alias {
    Alias::parse(text).expect("an alias")
}

pub(super) fn plain(text: &str) -> NewLink {
    NewLink::new(code(text), url("https://example.com/"))
}

pub(super) fn change(what: LinkChange) -> Operation {
    Operation::Change(Box::new(what))
}

pub(super) fn title(text: &str) -> LinkChange {
    LinkChange {
        title: Part::Set(Title::parse(text).expect("a title")),
        ..LinkChange::default()
    }
}

pub(super) fn rename(text: &str) -> Operation {
    Operation::Rename(alias(text))
}

pub(super) fn remove_code(text: &str) -> Operation {
    Operation::RemoveCode(code(text))
}

pub(super) async fn store(store: &Opened, link: NewLink) {
    let made = store.insert(&link).await.expect("an answer");
    assert_eq!(made, Created::Stored(link.code));
}

pub(super) async fn record(store: &Opened, text: &str) -> LinkRecord {
    let record = store.record(&code(text)).await.expect("an answer");
    record.expect("a link")
}

pub(super) async fn version(store: &Opened, text: &str) -> Version {
    record(store, text).await.version()
}

pub(super) async fn edit(
    store: &Opened,
    text: &str,
    operation: Operation,
) -> Result<LinkRecord, EditRefusal> {
    let edit = Edit {
        code: code(text),
        editor: Editor::Administrator,
        only_if: None,
        operation,
    };
    store.edit(&edit).await.expect("an answer").record()
}

pub(super) async fn look_up(store: &Opened, text: &str) -> LookUp {
    let mut found = store.look_up(&[code(text)]).await.expect("an answer");
    found.remove(0)
}
