//! Reads Rust sources as the architecture test needs them: without comments, texts and test code.

use std::path::{Path, PathBuf};

/// One source file of the workspace.
#[derive(Debug)]
pub struct Source {
    /// Path from the workspace root, with `/`.
    pub path: String,
    /// As it is on disk.
    pub text: String,
    /// Comments, string and character literals blanked out; lines stay where they are.
    pub code: String,
    /// `code` with every `#[cfg(test)]` item blanked out too.
    pub product: String,
}

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// Every `.rs` file of the workspace's crates, sorted by path.
pub fn sources() -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for folder in ["cli", "daemon", "shared", "tests"] {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
            let code = blank_texts(&text);
            let mut product = blank_test_items(&code);
            if is_test_file(&path) {
                product = String::new();
            }
            let path = path.strip_prefix(&root).expect("under the root").display().to_string();
            Source { path, text, code, product }
        })
        .collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                collect(&path, into);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// True for integration tests, benches, examples and files that only a `#[cfg(test)] mod` names.
fn is_test_file(path: &Path) -> bool {
    let in_folder = |name: &str| path.components().any(|c| c.as_os_str() == name);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    in_folder("tests") || in_folder("examples") || stem == "tests" || stem.ends_with("_tests")
}

/// Blanks out comments and literals, so that a word in a sentence is not taken for code.
pub fn blank_texts(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip(&chars, at);
        if end == at {
            out.extend(chars.get(at));
            at += 1;
        } else {
            out.extend(chars.get(at..end).unwrap_or_default().iter().map(|c| match c {
                '\n' => '\n',
                _ => ' ',
            }));
            at = end;
        }
    }
    out
}

/// End of the comment or literal that begins at `at`; `at` itself when none does.
fn skip(chars: &[char], at: usize) -> usize {
    let get = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let before = if at == 0 { '\0' } else { get(at - 1) };
    match (get(at), get(at + 1)) {
        ('/', '/') => find(chars, at, |i| get(i) == '\n'),
        ('/', '*') => block_comment(chars, at),
        ('"', _) => quoted(chars, at),
        ('r', '"' | '#') if !before.is_alphanumeric() && before != '_' || before == 'b' => {
            raw_string(chars, at)
        }
        // A lifetime has no closing quote one or two characters on.
        ('\'', '\\') => find(chars, at + 3, |i| get(i) == '\'') + 1,
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        _ => at,
    }
}

fn find(chars: &[char], from: usize, hit: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|i| hit(*i)).unwrap_or(chars.len())
}

fn block_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i < chars.len() {
        match (chars.get(i), chars.get(i + 1)) {
            (Some('/'), Some('*')) => {
                depth += 1;
                i += 2;
            }
            (Some('*'), Some('/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    i
}

fn quoted(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while let Some(c) = chars.get(i) {
        match c {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    i
}

fn raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars.iter().skip(at + 1).take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let mut i = at + 2 + hashes;
    while i < chars.len() {
        let closing = chars.iter().skip(i + 1).take(hashes).filter(|c| **c == '#').count();
        if chars.get(i) == Some(&'"') && closing == hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// Blanks out every item under `#[cfg(test)]`. Expects texts and comments to be blank already.
pub fn blank_test_items(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out.get(from..).and_then(|rest| rest.find("#[cfg(test)]")) {
        let begin = from + found;
        let end = item_end(&out, begin);
        let blank: String =
            out.get(begin..end).unwrap_or_default().chars().map(blank_char).collect();
        out.replace_range(begin..end, &blank);
        from = end.min(out.len());
    }
    out
}

fn blank_char(c: char) -> char {
    if c == '\n' { '\n' } else { ' ' }
}

/// End of the item that begins at `begin`: its closing brace, or a `;` before any brace.
fn item_end(code: &str, begin: usize) -> usize {
    let mut depth = 0;
    for (i, c) in code.char_indices().skip_while(|(i, _)| *i < begin) {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            ';' if depth == 0 => return i + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_comments_are_blank_and_code_stays() {
        let text =
            "a // b\n/* c /* d */ e */ f(\"g \\\" h\", 'i', '\\n', r#\"j \" k\"#, b\"l\") <'m>";
        let code = blank_texts(text);
        let words: String = code.chars().filter(char::is_ascii_lowercase).collect();
        assert_eq!(words, "afbm", "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn test_items_are_blank_and_what_follows_stays() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c(); } }\nfn d() {}\n#[cfg(test)]\nmod e;\nfn f() {}";
        let product = blank_test_items(code);
        assert!(product.contains("fn a()") && product.contains("fn d()"), "{product}");
        assert!(product.contains("fn f()") && !product.contains("c()"), "{product}");
        assert!(!product.contains("mod e"), "{product}");
    }
}
