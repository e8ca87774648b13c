//! Circles among the imports of a crate, of crates that are written for the purpose.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, process::Command};

use harness::Imports;
use tempfile::TempDir;

/// A crate of these files.
fn of(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// The circles of a crate, each as the names of its files.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let folder = of(files);
    let imports = Imports::read(folder.path()).unwrap();
    imports.circles().iter().map(|circle| circle.files.join(" ")).collect()
}

const THREE: &str = "mod a;\nmod b;\nmod c;\n";

#[test]
fn a_circle_is_found_whatever_form_its_imports_have() {
    for [a, b, c] in [
        ["use crate::b::B;", "use crate::c::C;", "use crate::a::A;"],
        ["use crate::{b::B};", "use super::c;", "use super::a::*;"],
        [
            "pub(crate) use crate::b::{B, other::{C, D}};\nuse crate::b::B as E;",
            "fn f() -> crate::c::C { todo!() }",
            "fn f() { super::a::f(1, 2) }",
        ],
        ["fn f() { use crate::b::B; }", "m!(crate::c::C);", "impl From<crate::a::A> for C {}"],
        [
            "mod inner { use super::super::b::B; }",
            "use self::super::c::C;",
            "#[cfg(not(test))] use crate::a::A;",
        ],
        [
            "const Q: char = '\"';\nuse crate::b;",
            "const R: &str = r#\"\"\"#;\nuse crate::c;",
            "fn f<'a>() {} use crate::a::{self};",
        ],
    ] {
        let found = circles(&[("lib.rs", THREE), ("a.rs", a), ("b.rs", b), ("c.rs", c)]);
        assert_eq!(found, ["a.rs b.rs c.rs"], "{a} {b} {c}");
    }
}

#[test]
fn what_is_no_import_makes_no_circle() {
    let back = "use crate::a::A;";
    for a in [
        "",
        "// use crate::b::B;\n/* use crate::b::B; /* */ use crate::b::B; */\n//! [`crate::b::B`]",
        "const A: &str = \"use crate::b::B;\";\nconst B: &str = r##\"use crate::b::B; \"# \"##;",
        "#[cfg(test)]\nuse crate::b::{B, C};\n#[cfg(test)]\nmod tests {\n use crate::b::B;\n fn f() { {} }\n}",
        "#[cfg(test)]\n#[expect(unused)]\nfn f(a: [u8; 2], b: u8) -> crate::b::B { todo!() }",
        "#[cfg(all(test, unix))]\nmod only_in_tests;",
        "struct A {\n #[cfg(test)]\n b: crate::b::B,\n c: u8,\n}",
        "use b::B;\nuse std::b::B;\nuse other::{self, b::B};",
        "pub(in crate::b) struct A;",
        "use crate::Root;",
        "mod b { pub struct B; }\nuse self::b::B;",
        "fn f() -> impl Sized + use<> { self.b() }",
        "use other::{a, r#type::{self, B}};",
        "use other::{#, B};",
    ] {
        let root = "mod a;\nmod b;\npub struct Root;";
        let found = circles(&[("lib.rs", root), ("a.rs", a), ("b.rs", back)]);
        assert_eq!(found, [""; 0], "{a}");
        // The other way round it is one of two.
        let both = format!("{a}\nuse crate::b::B;");
        let found = circles(&[("lib.rs", root), ("a.rs", &both), ("b.rs", back)]);
        assert_eq!(found, ["a.rs b.rs"], "{both}");
    }
}

#[test]
fn names_are_followed_to_the_file_that_defines_them() {
    let there = "pub struct There;";
    let back = "use crate::a::A;";
    for (root, room, a) in [
        ("mod a; mod room; pub use room::there::There;", "pub mod there;", "use crate::There;"),
        (
            "mod a; mod room; pub use room::There;",
            "mod there; pub(crate) use there::There;",
            "use crate::There;",
        ),
        (
            "mod a; mod room; pub use crate::room::{There as Here};",
            "mod there; pub(crate) use self::there::There;",
            "use crate::{Here};",
        ),
        (
            "mod a; mod room; pub use room::*;",
            "mod there; pub(crate) use there::*;",
            "fn f() -> crate::There { todo!() }",
        ),
        ("mod a; mod room;", "mod there; pub use there::There;", "use crate::room::There;"),
    ] {
        let found = circles(&[
            ("lib.rs", root),
            ("a.rs", a),
            ("room.rs", room),
            ("room/there.rs", &format!("{there}\n{back}")),
        ]);
        assert_eq!(found, ["a.rs room/there.rs"], "{root} {room} {a}");
    }
    // A folder that is named by hand, and modules whose files are in a folder of their own.
    let found = circles(&[
        ("main.rs", "#[path = \"elsewhere/one.rs\"] mod a; mod room;"),
        ("elsewhere/one.rs", "use crate::room::inner::deep::B;"),
        ("room/mod.rs", "pub mod inner { pub mod deep; }"),
        ("room/inner/deep.rs", back),
    ]);
    assert_eq!(found, ["elsewhere/one.rs room/inner/deep.rs"]);
}

#[test]
fn circles_that_do_not_touch_are_told_apart_the_largest_first() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; mod c; mod d; mod e; mod f;"),
        ("a.rs", "use crate::b::B; use crate::c::C;"),
        ("b.rs", "use crate::a::A;"),
        ("c.rs", "use crate::d::D; use crate::f::F;"),
        ("d.rs", "use crate::e::E;"),
        ("e.rs", "use crate::c::C;"),
        ("f.rs", ""),
    ]);
    assert_eq!(found, ["c.rs d.rs e.rs", "a.rs b.rs"]);
}

#[test]
fn the_program_names_the_imports_of_a_circle_and_fails_where_it_has_more_than_two_files() {
    let run = |files: &[(&str, &str)]| {
        let folder = of(files);
        let output = Command::new(env!("CARGO_BIN_EXE_circles")).arg(folder.path()).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let pair = [
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use crate::a::A;"),
        ("c.rs", ""),
    ];
    let (code, told) = run(&pair);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("4 files, 1 circles, the largest of 2"), "{told}");
    let three = [
        ("lib.rs", THREE),
        ("a.rs", "use crate::b::{B, D};"),
        ("b.rs", "use crate::c::C;"),
        ("c.rs", "use crate::a::A;"),
    ];
    let (code, told) = run(&three);
    assert_eq!(code, Some(1), "{told}");
    for line in
        ["4 files, 1 circles, the largest of 3", "    a.rs -> b.rs: B, D", "    c.rs -> a.rs: A"]
    {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert_eq!(run(&[("other.rs", "")]).0, Some(1));
}
