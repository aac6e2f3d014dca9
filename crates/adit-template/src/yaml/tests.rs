use super::*;

fn tree(text: &str) -> Node {
    let mut faults = Faults::new("f");
    let node = read(text, &mut faults);
    node.unwrap_or_else(|| panic!("{:?}", faults.finish(()).unwrap_err()))
}

fn scalar(text: &str, is_quoted: bool) -> Content {
    Content::Scalar { text: text.to_owned(), is_quoted }
}

#[test]
fn a_tree_has_the_places_of_the_file() {
    let Content::Map(entries) = tree("a: b\nlist:\n  - 'x'\n").content else { panic!("a map") };
    let places: Vec<_> = entries.iter().map(|(key, node)| (key.at, node.at)).collect();
    let at = |line, column| Position { line, column };
    assert_eq!(places, [(at(1, 1), at(1, 4)), (at(2, 1), at(3, 3))]);
    assert_eq!(entries[0].1.content, scalar("b", false));
    let Content::List(list) = &entries[1].1.content else { panic!("a list") };
    assert_eq!((&list[0].content, list[0].at), (&scalar("x", true), at(3, 5)));
}

#[test]
fn a_mark_of_byte_order_is_no_part_of_the_file() {
    assert!(matches!(tree("\u{feff}a: b").content, Content::Map(_)));
}

#[test]
fn nothing_is_nothing_only_without_quotes() {
    for (text, is_null) in
        [("~", true), ("null", true), ("'null'", false), ("''", false), ("nil", false)]
    {
        assert_eq!(tree(text).is_null(), is_null, "{text}");
    }
}
