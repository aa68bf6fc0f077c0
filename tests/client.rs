//! The client does each thing once and misses nothing, on connections that break at the worst moments.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sandglass::client::{Client, ClientError, Streamed};
use sandglass::http::types::{CallStatus, CreateCall, CreateSandbox};
use serde_json::json;

use crate::support::Server;

/// A way to the service that breaks: connection `n` gives `passed[n]` bytes of answers and is then cut off; what comes later
/// stays whole.
fn breaking(server: SocketAddr, passed: Vec<usize>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    thread::spawn(move || {
        for client in listener.incoming() {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let passed = passed.get(number).copied().unwrap_or(usize::MAX);
            let (client, service) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let (from, to) = (client.try_clone().unwrap(), service.try_clone().unwrap());
            thread::spawn(move || pass(from, to, usize::MAX));
            thread::spawn(move || pass(service, client, passed));
        }
    });
    (format!("http://{address}"), connections)
}

/// Passes bytes on until there are none or enough; both ends are closed then.
fn pass(mut from: TcpStream, mut to: TcpStream, mut left: usize) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        let some = count.min(left);
        if to.write_all(&piece[..some]).is_err() {
            break;
        }
        left -= some;
        if left == 0 {
            break;
        }
    }
    // An end that is closed already is as it should be.
    let _closed = (from.shutdown(Shutdown::Both).is_ok(), to.shutdown(Shutdown::Both).is_ok());
}

fn python(code: &str) -> CreateCall {
    CreateCall { tool: "python".to_owned(), arguments: json!({ "code": code }), ..CreateCall::default() }
}

#[test]
fn what_is_sent_again_is_done_once() {
    let server = Server::shared();
    // Answers are lost whole, in their head and in their body, before one comes through.
    let (url, connections) = breaking(server.address(), vec![0, 60, 400]);
    let client = Client::new(&url, Some(server.token().to_owned())).unwrap();
    let name = "client-once";
    client.create_sandbox(&CreateSandbox { name: Some(name.to_owned()), ..CreateSandbox::default() }).unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 4, "three were cut off");

    let (url, _) = breaking(server.address(), vec![0, 60]);
    let client = Client::new(&url, Some(server.token().to_owned())).unwrap();
    let call = client.call(name, &python("open('/workspace/log', 'a').write('x'); print('done')")).unwrap();
    assert_eq!((call.status, call.stdout.as_str()), (CallStatus::Ok, "done\n"));
    assert_eq!(client.read(name, "/workspace/log", None, 100).unwrap().as_deref(), Some(&b"x"[..]));
    assert_eq!(client.operations(name, 100).unwrap().len(), 2, "created and called once");
}

#[test]
fn a_stream_goes_on_where_it_broke() {
    let server = Server::shared();
    server.create("client-stream");
    let (url, connections) = breaking(server.address(), vec![0, 500, 900, 1500]);
    let client = Client::new(&url, Some(server.token().to_owned())).unwrap();
    let code = "for number in range(300):\n    print(number, flush=True)\nopen('/workspace/once', 'a').write('x')";
    let (mut printed, mut started) = (String::new(), 0);
    let call = client.call_streaming("client-stream", &python(code), &mut |piece| {
        match piece {
            Streamed::Started(_) => started += 1,
            Streamed::Output(output) => printed.push_str(&output.text.unwrap()),
        }
        Ok(())
    });
    let call = call.unwrap();
    assert_eq!(started, 1);
    assert_eq!(printed, (0..300).map(|number| format!("{number}\n")).collect::<String>());
    assert_eq!(call.stdout, printed);
    assert!(connections.load(Ordering::SeqCst) > 4);
    assert_eq!(client.read("client-stream", "/workspace/once", None, 100).unwrap().as_deref(), Some(&b"x"[..]));
}

#[test]
fn writing_a_file_is_not_sent_twice() {
    let server = Server::shared();
    server.create("client-put");
    let (url, connections) = breaking(server.address(), vec![0]);
    let client = Client::new(&url, Some(server.token().to_owned())).unwrap();
    let lost = client.write("client-put", "/workspace/x", b"x", None);
    assert!(matches!(lost, Err(ClientError::Lost { .. })), "{lost:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn whatever_else_answers_is_told_from_a_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"];
    let other = thread::spawn(move || {
        for answer in answers {
            let (mut client, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            assert!(client.read(&mut head).unwrap() > 0);
            client.write_all(answer.as_bytes()).unwrap();
        }
    });
    for _ in answers {
        let client = Client::new(&url, None).unwrap();
        assert!(matches!(client.ready(), Err(ClientError::Answer { .. })));
    }
    other.join().unwrap();
}
