use super::*;

const LS: &str = "templates: {ls: {command: ls}}";
const ID: &str = "templates: {id: {command: id}}";
const BOTH: &str = "templates: {ls: {command: ls}, id: {command: id}}";
const BROKEN: &str = "templates: {ls: {command: sudo ls}}";

fn names(set: &Set) -> Vec<&str> {
    set.iter().map(|one| one.name().as_str()).collect()
}

fn sentences(outcome: Result<(), Vec<Fault>>) -> Vec<String> {
    outcome.unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_file_with_a_fault_leaves_its_last_good_version_in_force() {
    // CMD-3, JOB-09
    let mut set = Set::new();
    set.replace_file("a", LS).unwrap();
    set.replace_file("b", ID).unwrap();
    let found = sentences(set.replace_file("a", BROKEN));
    assert_eq!(found, ["a:1:27: `sudo` may not stand in a command: it changes who runs it"]);
    assert_eq!(names(&set), ["id", "ls"]);
    assert_eq!(set.find("ls").unwrap().command().program(), "ls");
    assert_eq!(set.faults().count(), 1);
    set.replace_file("a", "templates: {df: {command: df}}").unwrap();
    assert_eq!((names(&set), set.faults().count()), (vec!["df", "id"], 0));
}

#[test]
fn a_file_that_never_was_good_has_no_templates_and_stops_no_other() {
    // JOB-09
    let mut set = Set::new();
    assert!(set.replace_all([("a", BROKEN), ("b", ID)]).is_err());
    assert_eq!((names(&set), set.faults().count()), (vec!["id"], 1));
}

#[test]
fn a_template_that_another_file_has_is_a_fault() {
    let mut set = Set::new();
    set.replace_file("a", LS).unwrap();
    let found = sentences(set.replace_file("b", BOTH));
    assert_eq!(found, ["b:1:13: the template `ls` stands in a already"]);
    assert_eq!((set.find_file("ls"), set.find("id")), (Some("a"), None));
}

#[test]
fn what_is_in_force_is_not_lost_to_a_newcomer() {
    let mut set = Set::new();
    set.replace_file("b", LS).unwrap();
    assert!(set.replace_all([("a", LS), ("b", LS)]).is_err());
    assert_eq!(set.find_file("ls"), Some("b"));
}

#[test]
fn a_template_moves_from_one_file_to_another() {
    let mut set = Set::new();
    set.replace_all([("a", BOTH), ("b", "templates: {df: {command: df}}")]).unwrap();
    let moved = "templates: {df: {command: df}, ls: {command: ls -l}}";
    set.replace_all([("a", ID), ("b", moved)]).unwrap();
    assert_eq!((set.find_file("ls"), set.find_file("id")), (Some("b"), Some("a")));
    set.replace_all([("a", BOTH), ("b", "templates: {df: {command: df}}")]).unwrap();
    assert_eq!((set.find_file("ls"), set.faults().count()), (Some("a"), 0));
}

#[test]
fn a_file_that_is_gone_takes_its_templates_along() {
    let mut set = Set::new();
    set.replace_all([("a", LS), ("b", ID)]).unwrap();
    set.replace_all([("b", ID)]).unwrap();
    assert_eq!(names(&set), ["id"]);
    set.remove_file("b");
    assert!(set.is_empty());
}

#[test]
fn a_file_that_cannot_be_read_leaves_what_is_in_force() {
    let mut set = Set::new();
    set.replace_file("a", LS).unwrap();
    set.refuse_file("a", "the file is not UTF-8");
    assert_eq!(names(&set), ["ls"]);
    assert_eq!(set.faults().next().unwrap().to_string(), "a:1:1: the file is not UTF-8");
}

#[test]
fn a_set_has_a_number_of_templates() {
    let many = |from: usize, count: usize| {
        let all: String =
            (from..from + count).map(|n| format!("  t{n}: {{command: ls}}\n")).collect();
        format!("templates:\n{all}")
    };
    let mut set = Set::new();
    set.replace_file("a", &many(0, 600)).unwrap();
    assert!(set.replace_file("b", &many(600, 401)).is_err());
    assert_eq!(set.len(), 600);
    set.replace_file("b", &many(600, 400)).unwrap();
    set.replace_file("b", &many(600, 400)).unwrap();
    assert_eq!(set.len(), 1000);
}
