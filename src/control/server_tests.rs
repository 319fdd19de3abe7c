use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as Client;
use std::path::PathBuf;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use super::*;
use crate::control::{self, Reporter, client::ClientError, status::tests::example};
use crate::lifecycle::{AgentIndex, Outcome};

/// A server in a thread of its own that answers as a supervisor would and tells what it was
/// asked.
struct Bed {
    dir: tempfile::TempDir,
    asked: std_mpsc::Receiver<Request>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Bed {
    /// Drains with `wait` are answered at the end.
    fn new() -> Bed {
        Bed::with_users(nix::unistd::geteuid().as_raw(), None)
    }

    fn with_users(own: u32, agent: Option<u32>) -> Bed {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let (asked, receiver) = std_mpsc::channel();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std_mpsc::channel();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async move {
                let mut server = Server::bind(&path, agent).expect("bound");
                server.own_uid = own;
                ready.send(()).expect("the test waits");
                let mut waiting = Vec::new();
                loop {
                    let incoming = tokio::select! {
                        incoming = server.next() => incoming.expect("never ends"),
                        _ = &mut stopped => break,
                    };
                    // The test may have seen enough.
                    let _ = asked.send(incoming.request.clone());
                    match incoming.request {
                        Request::Status => incoming.reply.status(example()),
                        Request::Drain { wait: true, .. } => waiting.push(incoming.reply),
                        _ => incoming.reply.ok(),
                    }
                }
                waiting.into_iter().for_each(Reply::ok);
                server.close().await;
            });
        });
        is_ready.recv().expect("bound");
        Bed {
            dir,
            asked: receiver,
            stop: Some(stop),
            server: Some(server),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    fn connect(&self) -> Client {
        Client::connect(self.path()).expect("it listens")
    }

    /// Sends bytes and reads whatever comes until the server hangs up.
    fn say(&self, bytes: &[u8]) -> String {
        let mut client = self.connect();
        // It may hang up before it has read everything.
        let _ = client.write_all(bytes);
        let _ = client.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer);
        answer
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(server) = self.server.take() {
            server.join().expect("no panic");
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn jobs_and_status_go_through_the_client() {
    let bed = Bed::new();
    let reporter = Reporter {
        socket: bed.path(),
        agent: AgentIndex(2),
        strict: true,
    };
    reporter.start(Some("a".to_owned())).expect("taken");
    reporter
        .finish(Some("a".to_owned()), Outcome::Failed)
        .expect("taken");
    assert_eq!(control::status(&bed.path()).expect("told"), example());
    control::drain(&bed.path(), Some(Duration::from_secs(5)), false).expect("taken");
    let (id, agent) = (Some("a".to_owned()), AgentIndex(2));
    let expected = [
        Request::JobStart {
            id: id.clone(),
            agent,
        },
        Request::JobFinish {
            id,
            outcome: Outcome::Failed,
            agent,
        },
        Request::Status,
        Request::Drain {
            deadline: Some(Duration::from_secs(5)),
            wait: false,
        },
    ];
    assert_eq!(bed.asked.try_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn job_exec_reports_start_and_outcome() {
    let bed = Bed::new();
    let reporter = Reporter {
        socket: bed.path(),
        agent: AgentIndex(1),
        strict: true,
    };
    let argv = |script: &str| ["sh", "-c", script].map(std::ffi::OsString::from).to_vec();
    for (script, status, outcome) in [
        ("exit 0", 0, Outcome::Passed),
        ("exit 7", 7, Outcome::Failed),
        ("kill -TERM $$", 143, Outcome::Canceled),
    ] {
        assert_eq!(reporter.exec(None, &argv(script)).expect("ran"), status);
        let asked: Vec<_> = bed.asked.try_iter().collect();
        let [
            Request::JobStart { id, .. },
            Request::JobFinish {
                id: same,
                outcome: seen,
                ..
            },
        ] = asked.as_slice()
        else {
            panic!("{asked:?}");
        };
        assert!(id.is_some() && id == same);
        assert_eq!(*seen, outcome, "{script}");
    }
}

#[test]
fn a_waiting_drain_is_answered_when_it_is_over() {
    let mut bed = Bed::new();
    let path = bed.path();
    let waiter = std::thread::spawn(move || control::drain(&path, None, true));
    let asked = bed.asked.recv().expect("asked");
    assert_eq!(
        asked,
        Request::Drain {
            deadline: None,
            wait: true
        }
    );
    assert!(!waiter.is_finished());
    bed.end();
    waiter
        .join()
        .expect("no panic")
        .expect("answered at the end");
    assert!(!bed.path().exists(), "the socket is gone");
}

#[test]
fn several_requests_on_one_connection_are_answered_in_order() {
    let bed = Bed::new();
    let answers = bed.say(b"{\"op\":\"job-start\"}\n{\"op\":\"status\"}\n{\"op\":\"job-finish\"}");
    let lines: Vec<_> = answers.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], "{\"ok\":true}");
    assert!(lines[1].contains("\"state\":\"idle\""), "{answers}");
    assert_eq!(lines[2], "{\"ok\":true}");
}

#[test]
fn ten_thousand_garbage_messages_harm_nothing() {
    let bed = Bed::new();
    let long = vec![b'x'; 3 * control::LONGEST_REQUEST];
    let deep = "[".repeat(control::LONGEST_REQUEST - 1) + "\n";
    let garbage: [&[u8]; 8] = [
        b"\n",
        b"hello\n",
        b"\xff\x00\xfe\n",
        b"{\"op\":\"reboot\"}\n",
        b"{\"op\":\"drain\",\"deadline_seconds\":\"soon\"}\n",
        &long,
        deep.as_bytes(),
        b"{\"op\":",
    ];
    for round in 0..10_000 {
        let answer = bed.say(garbage[round % garbage.len()]);
        assert!(
            answer.is_empty() || answer.starts_with("{\"ok\":false"),
            "{answer}"
        );
    }
    assert_eq!(
        bed.asked.try_iter().count(),
        0,
        "none of it was taken for a request"
    );
    assert_eq!(control::status(&bed.path()).expect("told"), example());
}

#[test]
fn a_long_id_is_refused() {
    let bed = Bed::new();
    let id = "x".repeat(257);
    let answer = bed.say(format!("{{\"op\":\"job-start\",\"id\":\"{id}\"}}\n").as_bytes());
    assert!(answer.contains("at most 256 bytes"), "{answer}");
}

#[test]
fn who_writes_slowly_or_not_at_all_is_cut_off() {
    let bed = Bed::new();
    let mut slow = bed.connect();
    slow.write_all(b"{\"op\":").expect("taken");
    let mut mute = bed.connect();
    for client in [&mut slow, &mut mute] {
        assert_eq!(client.read(&mut [0; 1]).expect("hung up"), 0);
    }
}

#[test]
fn too_many_connections_are_cut_off_and_room_comes_back() {
    let bed = Bed::new();
    let mut open: Vec<_> = (0..MOST_CONNECTIONS)
        .map(|_| {
            let mut client = bed.connect();
            client
                .write_all(b"{\"op\":\"job-start\"}\n{\"op\":")
                .expect("taken");
            let mut line = String::new();
            BufReader::new(&client)
                .read_line(&mut line)
                .expect("answered");
            client
        })
        .collect();
    assert_eq!(
        bed.connect().read(&mut [0; 1]).unwrap_or(0),
        0,
        "one too many"
    );
    open.clear();
    // The server learns of the ends in its own time.
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while control::status(&bed.path()).is_err() {
        assert!(std::time::Instant::now() < until, "no room came back");
    }
}

/// What the user with this number is answered; only root can ask as somebody else.
fn ask_as(uid: u32, bed: &Bed, request: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bed.dir.path(), open).expect("our own directory");
    let script = "import socket, sys\n\
        s = socket.socket(socket.AF_UNIX)\n\
        s.connect(sys.argv[1])\n\
        try:\n s.sendall(sys.argv[2].encode() + b'\\n')\n sys.stdout.write(s.makefile().readline())\n\
        except OSError: pass\n";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(bed.path())
        .arg(request)
        .uid(uid)
        .output()
        .expect("python3 runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_agents_user_reports_jobs_and_no_more_and_strangers_hear_nothing() {
    const AGENT: u32 = 65_534;
    const STRANGER: u32 = 65_533;
    let start = r#"{"op":"job-start"}"#;
    let drain = r#"{"op":"drain"}"#;
    if nix::unistd::geteuid().is_root() {
        let bed = Bed::with_users(0, Some(AGENT));
        assert_eq!(ask_as(AGENT, &bed, start), "{\"ok\":true}\n");
        assert!(ask_as(AGENT, &bed, r#"{"op":"status"}"#).contains("\"state\""));
        assert!(ask_as(AGENT, &bed, drain).contains("only root"));
        assert_eq!(ask_as(STRANGER, &bed, r#"{"op":"status"}"#), "");
        assert_eq!(bed.asked.try_iter().count(), 2);
    } else {
        // Our own user plays the agent's.
        let bed = Bed::with_users(STRANGER, Some(nix::unistd::geteuid().as_raw()));
        assert_eq!(bed.say(start.as_bytes()), "{\"ok\":true}\n");
        assert!(bed.say(drain.as_bytes()).contains("only root"));
        assert_eq!(bed.asked.try_iter().count(), 1);
    }
}

#[test]
fn rights_go_by_user() {
    let of = |uid| Rights::of(uid, 500, Some(1000));
    assert_eq!(of(0), Some(Rights::All));
    assert_eq!(of(500), Some(Rights::All));
    assert_eq!(of(1000), Some(Rights::Jobs));
    assert_eq!(of(1001), None);
    assert_eq!(Rights::of(1000, 1000, Some(1000)), Some(Rights::All));
    assert_eq!(Rights::of(1000, 500, None), None);
    let drain = Request::Drain {
        deadline: None,
        wait: false,
    };
    assert!(Rights::All.allow(&drain) && !Rights::Jobs.allow(&drain));
    assert!(Rights::Jobs.allow(&Request::Status));
}

#[test]
fn nobody_listening_is_said_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let missing = control::status(&path);
    assert!(
        matches!(missing, Err(ClientError::NoSupervisor { .. })),
        "{missing:?}"
    );
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let stale = control::status(&path);
    assert!(
        matches!(stale, Err(ClientError::NoSupervisor { .. })),
        "{stale:?}"
    );
}
