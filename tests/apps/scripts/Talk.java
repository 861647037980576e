import com.sun.net.httpserver.HttpServer;
import java.io.DataInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousServerSocketChannel;
import java.nio.channels.AsynchronousSocketChannel;
import java.nio.channels.CompletionHandler;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.zip.CRC32;

/** Java's ways to use sockets: Talk.java blocking|selector|async|http serve|talk PORT. */
public class Talk {
    static final InetAddress HERE = InetAddress.getLoopbackAddress();

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[2]);
        switch (args[0] + " " + args[1]) {
            case "blocking serve" -> serveBlocking(port);
            case "selector serve" -> serveSelector(port);
            case "async serve" -> serveAsync(port);
            case "http serve" -> serveHttp(port);
            case "http talk" -> talkHttp(port);
            case "async talk" -> talkAsync(port);
            case "selector talk" -> talkSelector(port);
            default -> talkBlocking(port);
        }
    }

    // --- echo servers ---

    static void serveBlocking(int port) throws Exception {
        var server = new ServerSocket(port, 50, HERE);
        while (true) {
            Socket one = server.accept();
            new Thread(() -> {
                try (one) {
                    one.getInputStream().transferTo(one.getOutputStream());
                } catch (Exception error) {
                    System.err.println(error);
                }
            }).start();
        }
    }

    static void serveSelector(int port) throws Exception {
        var selector = Selector.open();
        var server = ServerSocketChannel.open().bind(new InetSocketAddress(HERE, port));
        server.configureBlocking(false).register(selector, SelectionKey.OP_ACCEPT);
        while (true) {
            selector.select();
            var keys = selector.selectedKeys().iterator();
            while (keys.hasNext()) {
                var key = keys.next();
                keys.remove();
                if (key.isAcceptable()) {
                    var one = server.accept();
                    one.configureBlocking(false).register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(65536));
                    continue;
                }
                var one = (SocketChannel) key.channel();
                var buffer = (ByteBuffer) key.attachment();
                if (key.isReadable() && one.read(buffer) < 0) {
                    one.close();
                    continue;
                }
                buffer.flip();
                one.write(buffer);
                // Reads nothing more while something waits to be written.
                key.interestOps(buffer.hasRemaining() ? SelectionKey.OP_WRITE : SelectionKey.OP_READ);
                buffer.compact();
            }
        }
    }

    static void serveAsync(int port) throws Exception {
        var server = AsynchronousServerSocketChannel.open().bind(new InetSocketAddress(HERE, port));
        while (true) {
            echo(server.accept().get(), ByteBuffer.allocateDirect(65536));
        }
    }

    static void echo(AsynchronousSocketChannel one, ByteBuffer buffer) {
        one.read(buffer, null, new CompletionHandler<Integer, Void>() {
            public void completed(Integer got, Void none) {
                if (got < 0) {
                    try {
                        one.close();
                    } catch (Exception error) {
                        System.err.println(error);
                    }
                    return;
                }
                buffer.flip();
                one.write(buffer, null, new CompletionHandler<Integer, Void>() {
                    public void completed(Integer sent, Void none) {
                        if (buffer.hasRemaining()) {
                            one.write(buffer, null, this);
                        } else {
                            echo(one, buffer.clear());
                        }
                    }

                    public void failed(Throwable error, Void none) {
                        System.err.println(error);
                    }
                });
            }

            public void failed(Throwable error, Void none) {
                System.err.println(error);
            }
        });
    }

    static void serveHttp(int port) throws Exception {
        var server = HttpServer.create(new InetSocketAddress(HERE, port), 50);
        server.createContext("/", exchange -> {
            byte[] body = exchange.getRequestBody().readAllBytes();
            exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
            try (OutputStream out = exchange.getResponseBody()) {
                out.write(body);
            }
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }

    // --- clients: what comes back is summed up ---

    static byte[] pattern(int size, int seed) {
        var bytes = new byte[size];
        new java.util.Random(seed).nextBytes(bytes);
        return bytes;
    }

    static void say(String what, byte[] got) {
        var crc = new CRC32();
        crc.update(got);
        System.out.println(what + " " + got.length + " " + Long.toHexString(crc.getValue()));
    }

    /** Goes on until the test has seen what it waits for, and says so on standard input. */
    static boolean isToldToEnd() throws Exception {
        return System.in.available() > 0;
    }

    static void talkBlocking(int port) throws Exception {
        for (int turn = 0; turn < 4; turn++) {
            try (var one = new Socket(HERE, port)) {
                one.setTcpNoDelay(turn % 2 == 0);
                one.setSoTimeout(turn == 2 ? 20000 : 0);
                var in = new DataInputStream(one.getInputStream());
                var out = one.getOutputStream();
                var small = pattern(100, turn);
                do {
                    out.write(small);
                    if (!Arrays.equals(in.readNBytes(100), small)) {
                        throw new Exception("other bytes");
                    }
                } while (turn == 0 && !isToldToEnd());
                var large = pattern(5_000_000, turn);
                var writer = new Thread(() -> {
                    try {
                        out.write(large);
                        one.shutdownOutput();
                    } catch (Exception error) {
                        System.err.println(error);
                    }
                });
                writer.start();
                say("blocking", in.readAllBytes());
                writer.join();
            }
        }
        // A reader that is closed by another thread.
        var one = new Socket(HERE, port);
        one.getOutputStream().write(pattern(10, 9));
        one.getInputStream().readNBytes(10);
        var reader = new CompletableFuture<String>();
        var thread = new Thread(() -> {
            try {
                reader.complete("read " + one.getInputStream().read());
            } catch (Exception error) {
                reader.complete(error.getClass().getName());
            }
        });
        thread.start();
        while (thread.getState() != Thread.State.RUNNABLE) {
            Thread.onSpinWait();
        }
        one.close();
        System.out.println("closed: " + reader.get());
    }

    static void talkSelector(int port) throws Exception {
        var selector = Selector.open();
        int count = 8, size = 1_000_000;
        var outs = new ArrayList<ByteBuffer>();
        var ins = new ArrayList<ByteBuffer>();
        for (int i = 0; i < count; i++) {
            var one = SocketChannel.open();
            one.configureBlocking(false);
            one.connect(new InetSocketAddress(HERE, port));
            one.register(selector, SelectionKey.OP_CONNECT, i);
            outs.add(ByteBuffer.wrap(pattern(size, i)));
            ins.add(ByteBuffer.allocate(size));
        }
        // Small pieces until the test has seen them moved, then as much as goes.
        boolean ending = false;
        for (int left = count; left > 0; ) {
            selector.select();
            ending = ending || isToldToEnd();
            for (var key : selector.selectedKeys()) {
                var one = (SocketChannel) key.channel();
                int i = (int) key.attachment();
                var out = outs.get(i);
                var in = ins.get(i);
                if (key.isConnectable()) {
                    one.finishConnect();
                    key.interestOps(SelectionKey.OP_READ | SelectionKey.OP_WRITE);
                }
                if (key.isValid() && key.isWritable()) {
                    boolean lagging = out.position() - in.position() > 0;
                    if (!ending && out.position() >= size / 2 && !lagging) {
                        // Once more from the start.
                        out.rewind();
                        in.rewind();
                    }
                    out.limit(ending ? size : Math.min(size, lagging ? out.position() : out.position() + 200));
                    one.write(out);
                    if (out.position() == size) {
                        key.interestOps(SelectionKey.OP_READ);
                    }
                }
                if (key.isValid() && key.isReadable()) {
                    one.read(in);
                    if (!in.hasRemaining()) {
                        one.close();
                        left--;
                    }
                }
            }
            selector.selectedKeys().clear();
        }
        for (var in : ins) {
            say("selector", in.array());
        }
    }

    static void talkAsync(int port) throws Exception {
        var ones = new ArrayList<AsynchronousSocketChannel>();
        for (int i = 0; i < 4; i++) {
            var one = AsynchronousSocketChannel.open();
            one.connect(new InetSocketAddress(HERE, port)).get();
            ones.add(one);
        }
        do {
            for (var one : ones) {
                one.write(ByteBuffer.wrap(pattern(100, 1))).get();
                exactly(one, 100);
            }
        } while (!isToldToEnd());
        for (int i = 0; i < 4; i++) {
            var one = ones.get(i);
            var out = ByteBuffer.wrap(pattern(3_000_000, i));
            var done = new CompletableFuture<Void>();
            one.write(out, null, new CompletionHandler<Integer, Void>() {
                public void completed(Integer sent, Void none) {
                    if (out.hasRemaining()) {
                        one.write(out, null, this);
                    } else {
                        done.complete(null);
                    }
                }

                public void failed(Throwable error, Void none) {
                    done.completeExceptionally(error);
                }
            });
            say("async", exactly(one, 3_000_000));
            done.get();
            one.shutdownOutput();
            System.out.println("end: " + one.read(ByteBuffer.allocate(1)).get());
            one.close();
        }
    }

    static byte[] exactly(AsynchronousSocketChannel one, int size) throws Exception {
        var in = ByteBuffer.allocate(size);
        while (in.hasRemaining() && one.read(in).get() >= 0) {
        }
        return in.array();
    }

    static void talkHttp(int port) throws Exception {
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var at = URI.create("http://127.0.0.1:" + port + "/");
        do {
            post(client, at, pattern(300, 3));
        } while (!isToldToEnd());
        for (int size : new int[] {0, 1, 100, 65536, 1_000_000, 8_000_000}) {
            say("post", post(client, at, pattern(size, size)));
        }
        var many = new ArrayList<CompletableFuture<HttpResponse<byte[]>>>();
        for (int i = 0; i < 200; i++) {
            var body = HttpRequest.BodyPublishers.ofByteArray(pattern(1000 + i, i));
            var request = HttpRequest.newBuilder(at).POST(body).build();
            many.add(client.sendAsync(request, HttpResponse.BodyHandlers.ofByteArray()));
            if (i % 8 == 7) {
                for (var one : many.subList(i - 7, i + 1)) {
                    one.join();
                }
            }
        }
        for (var one : many) {
            say("at once", one.get().body());
        }
    }

    static byte[] post(HttpClient client, URI at, byte[] body) throws Exception {
        var request = HttpRequest.newBuilder(at).POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
        return client.send(request, HttpResponse.BodyHandlers.ofByteArray()).body();
    }
}
