use super::*;
use std::ffi::OsString;

fn none(_: &str) -> Option<String> {
    None
}

#[test]
fn defaults_are_the_local_ports_and_five_seconds() {
    let settings = Settings::resolve(&Global::default(), &none, Way::Cluster).unwrap();
    assert_eq!(settings.endpoints.len(), 9);
    assert_eq!(settings.endpoints.first().unwrap(), "127.0.0.1:8001");
    assert_eq!(settings.timeout, Duration::from_secs(5));
    assert_eq!(settings.output, Format::Table);
}

#[test]
fn a_flag_counts_before_its_variable() {
    let vars = |name: &str| match name {
        "DSCTL_ENDPOINTS" => Some("v:1, http://w:2".to_owned()),
        "DSCTL_TIMEOUT" => Some("7s".to_owned()),
        "DSCTL_OUTPUT" => Some("json".to_owned()),
        "DSCTL_OWNER" => Some("ci@build7".to_owned()),
        _ => None,
    };
    let settings = Settings::resolve(&Global::default(), &vars, Way::Cluster).unwrap();
    assert_eq!(settings.endpoints, ["v:1", "w:2"]);
    assert_eq!(settings.timeout, Duration::from_secs(7));
    assert_eq!(settings.output, Format::Json);
    assert_eq!(settings.owner, "ci@build7");
    let flags = Global {
        endpoints: vec!["f:1".into(), "g:2,f:1".into()],
        timeout: Some(Duration::from_secs(1)),
        output: Some(Format::Name),
        ..Global::default()
    };
    let settings = Settings::resolve(&flags, &vars, Way::Cluster).unwrap();
    assert_eq!(settings.endpoints, ["f:1", "g:2"]);
    assert_eq!(settings.timeout, Duration::from_secs(1));
    assert_eq!(settings.output, Format::Name);
}

#[test]
fn a_bad_variable_is_named() {
    for (name, value) in [
        ("DSCTL_ENDPOINTS", "nonsense"),
        ("DSCTL_TIMEOUT", "5"),
        ("DSCTL_TIMEOUT", "0s"),
        ("DSCTL_OUTPUT", "xml"),
        ("DSCTL_COLOR", "pink"),
        ("DSCTL_YES", "perhaps"),
        ("DSCTL_REQUEST_ID", "zz"),
    ] {
        let vars = |asked: &str| (asked == name).then(|| value.to_owned());
        let failure = Settings::resolve(&Global::default(), &vars, Way::Cluster).unwrap_err();
        assert_eq!(failure.exit.number(), 64, "{name}");
    }
}

#[test]
fn a_context_gives_endpoints_and_timeout_and_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let root = home.path().to_str().unwrap().to_owned();
    let vars = |name: &str| (name == "XDG_CONFIG_HOME").then(|| root.clone());
    let file = context::path(&vars).unwrap();
    let mut contexts = Contexts { current: Some("prod".to_owned()), ..Contexts::default() };
    contexts.contexts.insert(
        "prod".to_owned(),
        context::Context {
            endpoints: vec!["p:1".to_owned()],
            timeout_ms: Some(9_000),
            ..context::Context::default()
        },
    );
    contexts.write(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let settings = Settings::resolve(&Global::default(), &vars, Way::Cluster).unwrap();
    assert_eq!(settings.endpoints, ["p:1"]);
    assert_eq!(settings.timeout, Duration::from_secs(9));

    let other = Global { context: Some("nope".to_owned()), ..Global::default() };
    let failure = Settings::resolve(&other, &vars, Way::Cluster).unwrap_err();
    assert_eq!(failure.exit.number(), 66);
    assert_eq!(failure.fault.hint.as_deref(), Some("known: prod"));

    std::fs::write(&file, "{").unwrap();
    let failure = Settings::resolve(&Global::default(), &vars, Way::Cluster).unwrap_err();
    assert_eq!(failure.exit.number(), 78);
}

#[test]
fn a_node_file_gives_endpoints_and_the_expected_nodes() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("lock_node1.env");
    std::fs::write(
        &file,
        "NODE_ID=a\nNODE_HOST=127.0.0.1\nNODE_PORT=8001\nPEER_ADDRESSES=127.0.0.1:8002\n",
    )
    .unwrap();
    let path = file.to_str().unwrap().to_owned();
    let flags = Global { env_file: vec![path.clone()], ..Global::default() };
    let settings = Settings::resolve(&flags, &none, Way::Cluster).unwrap();
    assert_eq!(settings.endpoints, ["127.0.0.1:8001", "127.0.0.1:8002"]);
    assert_eq!(settings.expected.len(), 2);

    let comma = Global { env_file: vec![format!("{path}, {path}")], ..Global::default() };
    assert_eq!(Settings::resolve(&comma, &none, Way::Cluster).unwrap().expected.len(), 2);

    let both = Global { endpoints: vec!["x:1".into()], env_file: vec![path], ..Global::default() };
    let settings = Settings::resolve(&both, &none, Way::Cluster).unwrap();
    assert_eq!(settings.endpoints, ["x:1"]);
    assert_eq!(settings.expected.len(), 2);

    let missing = Global { env_file: vec!["/nonexistent/x.env".into()], ..Global::default() };
    assert_eq!(Settings::resolve(&missing, &none, Way::Cluster).unwrap_err().exit.number(), 78);
}

#[test]
fn the_format_of_errors_is_known_before_arguments_are() {
    let of = |args: &[&str]| {
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        format_of_raw(&args, &none)
    };
    assert_eq!(of(&["dsctl", "bad", "-o", "json"]), Format::Json);
    assert_eq!(of(&["dsctl", "-ojson", "bad"]), Format::Json);
    assert_eq!(of(&["dsctl", "--output=yaml"]), Format::Yaml);
    assert_eq!(of(&["dsctl", "lock", "run", "x", "--", "-o", "json"]), Format::Table);
    assert_eq!(of(&["dsctl", "-o"]), Format::Table);
}

#[test]
fn a_command_that_does_not_dial_does_not_look_where_the_cluster_is() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().to_str().unwrap().to_owned();
    let vars = |name: &str| match name {
        "XDG_CONFIG_HOME" => Some(root.clone()),
        "DSCTL_ENDPOINTS" => Some("garbage".to_owned()),
        "DSCTL_ENV_FILE" => Some("/nonexistent/x.env".to_owned()),
        _ => None,
    };
    let file = context::path(&vars).unwrap();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{").unwrap();
    let resolve = |way| Settings::resolve(&Global::default(), &vars, way);
    assert!(resolve(Way::None).is_ok());
    assert_eq!(resolve(Way::Named).unwrap_err().exit.number(), 64);
    assert_eq!(resolve(Way::Cluster).unwrap_err().exit.number(), 64);
    let flags = Global { endpoints: vec!["a:1".into()], ..Global::default() };
    let named = Settings::resolve(&flags, &vars, Way::Named).unwrap().named_endpoints;
    assert_eq!(named, ["a:1"]);
}

#[test]
fn colours_are_known_before_arguments_are() {
    let of = |args: &[&str], name: &str, value: &str| {
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        let vars = |asked: &str| (asked == name).then(|| value.to_owned());
        let style = style_of_raw(&args, &vars);
        (style.color, style.no_color)
    };
    assert_eq!(of(&["dsctl", "--help"], "", ""), (Color::Auto, false));
    assert_eq!(of(&["dsctl", "--help", "--color", "never"], "", ""), (Color::Never, false));
    assert_eq!(of(&["dsctl", "--color=never", "x"], "DSCTL_COLOR", "always").0, Color::Never);
    assert_eq!(of(&["dsctl", "x"], "DSCTL_COLOR", "never").0, Color::Never);
    assert_eq!(of(&["dsctl", "x", "--", "--color=never"], "", "").0, Color::Auto);
    assert_eq!(of(&["dsctl", "x"], "TERM", "dumb"), (Color::Auto, true));
    assert_eq!(of(&["dsctl", "x"], "NO_COLOR", "1"), (Color::Auto, true));
}
