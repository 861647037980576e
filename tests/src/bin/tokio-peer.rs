//! A server and a client on tokio, for the tests of programs: what an edge-triggered runtime of today makes of a socket.
//!
//! `tokio-peer serve PORT` serves until its input ends; `tokio-peer ask PORT` asks, and says what it got.

use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of the large answer, and connections at once.
const LARGE: usize = 4 << 20;
const MANY: usize = 20;

#[tokio::main(worker_threads = 2)]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    let port: u16 = arguments.get(2).and_then(|port| port.parse().ok()).expect("a port");
    match arguments[1].as_str() {
        "serve" => {
            let listener = TcpListener::bind(("127.0.0.1", port)).await?;
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(serve(stream));
            }
        }
        _ => ask(port).await,
    }
}

/// Echoes frames of a length and so many bytes; the length 0 asks for the large answer.
async fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    while let Ok(len) = from.read_u32().await {
        if len == 0 {
            let large: Vec<u8> = (0..LARGE).map(|i| (i / 7) as u8).collect();
            to.write_all(&large).await?;
            continue;
        }
        let mut frame = vec![0; len as usize];
        from.read_exact(&mut frame).await?;
        to.write_all(&frame).await?;
    }
    Ok(())
}

async fn ask(port: u16) -> std::io::Result<()> {
    let mut stream = connect(port).await?;
    echo(&mut stream, 500, 64).await?;
    for round in 0..3 {
        stream.write_u32(0).await?;
        // Slowly, so that the writer finds no room again and again.
        let (mut got, mut reads, mut piece) = (0, 0, vec![0; 64 << 10]);
        while got < LARGE {
            let n = stream.read(&mut piece).await?;
            assert!(n > 0 && (0..n).all(|i| piece[i] == ((got + i) / 7) as u8), "round {round}, byte {got}");
            (got, reads) = (got + n, reads + 1);
            if round > 0 && reads % 32 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        println!("large answer {round}");
    }
    let many = (0..MANY).map(|i| {
        tokio::spawn(async move {
            let mut stream = connect(port).await?;
            echo(&mut stream, 200, 100 * (i + 1)).await?;
            stream.write_all(&[0; 2]).await?;
            // Half a length: the server hears of the end in the middle of it.
            stream.shutdown().await?;
            stream.read(&mut [0]).await
        })
    });
    for one in many.collect::<Vec<_>>() {
        assert_eq!(one.await.expect("no panic")?, 0);
    }
    println!("{MANY} connections");
    // Cancelled in the middle, again and again; then it works still.
    for _ in 0..20 {
        let patience = Duration::from_millis(2);
        assert!(tokio::time::timeout(patience, stream.read(&mut [0])).await.is_err());
    }
    echo(&mut stream, 100, 5000).await?;
    println!("after time-outs");
    Ok(())
}

async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // Two writes a frame.
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn echo(stream: &mut TcpStream, rounds: usize, size: usize) -> std::io::Result<()> {
    for round in 0..rounds {
        let frame = vec![round as u8; size];
        stream.write_u32(size as u32).await?;
        stream.write_all(&frame).await?;
        let mut back = vec![0; size];
        stream.read_exact(&mut back).await?;
        assert_eq!(frame, back, "round {round}");
    }
    Ok(())
}
