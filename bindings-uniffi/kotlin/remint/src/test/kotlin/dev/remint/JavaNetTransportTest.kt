package dev.remint

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import com.sun.net.httpserver.HttpsConfigurator
import com.sun.net.httpserver.HttpsServer
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.ProxySelector
import java.net.ServerSocket
import java.nio.file.Files
import java.nio.file.Path
import java.security.KeyStore
import java.time.Duration
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger
import javax.net.ssl.KeyManagerFactory
import javax.net.ssl.SSLContext
import javax.net.ssl.TrustManagerFactory
import kotlin.concurrent.thread

@Timeout(120)
class JavaNetTransportTest {
    private val requests = ConcurrentLinkedQueue<Map<String, List<String>>>()
    private val servers = ArrayList<AutoCloseable>()

    @AfterEach
    fun stop() = servers.forEach { it.close() }

    private fun serve(server: HttpServer, answer: (HttpExchange) -> Unit): String {
        val executor = Executors.newCachedThreadPool()
        server.executor = executor
        server.createContext("/") { exchange ->
            requests += exchange.requestHeaders.toMap()
            exchange.requestBody.readAllBytes()
            exchange.use(answer)
        }
        server.start()
        servers += AutoCloseable {
            server.stop(0)
            executor.shutdownNow()
        }
        val scheme = if (server is HttpsServer) "https" else "http"
        return "$scheme://localhost:${server.address.port}/token"
    }

    private fun serve(answer: (HttpExchange) -> Unit): String =
        serve(HttpServer.create(InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0), answer)

    private fun HttpExchange.reply(status: Int, text: String) {
        responseHeaders.add("content-type", "application/json")
        val bytes = text.toByteArray()
        sendResponseHeaders(status, bytes.size.toLong())
        responseBody.write(bytes)
    }

    private fun HttpExchange.token() = reply(200, """{"access_token":"T1","token_type":"Bearer","expires_in":3600}""")

    private fun client(url: String, configure: Builder.() -> Unit = {}): Client = Client(PROFILE, "id", "s3cret") {
        variable("tokenEndpoint", url)
        allowLoopbackHttp(true)
        configure()
    }

    private fun failure(url: String, configure: Builder.() -> Unit = {}): RemintException =
        thrown { client(url) { requestTimeout(Duration.ofSeconds(20)); configure() }.tokenBlocking(timeout = Duration.ofSeconds(20)) }

    @Test
    fun `a token is fetched over HTTP 1 with nothing on the request that was not asked for`() {
        val client = client(serve { it.token() })
        assertEquals("T1", client.tokenBlocking().accessToken)
        val headers = requests.single().mapKeys { it.key.lowercase() }
        assertEquals(listOf("identity"), headers["accept-encoding"])
        assertNull(headers["upgrade"])
    }

    @Test
    fun `redirects are not followed`() {
        val count = AtomicInteger()
        val url = serve {
            count.incrementAndGet()
            it.responseHeaders.add("location", "/elsewhere")
            it.reply(307, "")
        }
        assertEquals("unexpected_answer", failure(url).code)
        assertEquals(1, count.get())
    }

    @Test
    fun `a body over the cap is not read on`() {
        val url = serve {
            it.sendResponseHeaders(200, 0)
            val chunk = ByteArray(65_536)
            runCatching { repeat(1_000) { _ -> it.responseBody.write(chunk) } }
        }
        assertEquals("answer_too_large", failure(url).code)
    }

    @Test
    fun `requestTimeout is for all of the answer, not for its beginning`() {
        val end = CountDownLatch(1)
        val url = serve {
            it.sendResponseHeaders(200, 100)
            it.responseBody.write('{'.code)
            it.responseBody.flush()
            end.await()
        }
        val error = thrown<TransportException> { client(url) { requestTimeout(Duration.ofMillis(700)) }.tokenBlocking(timeout = Duration.ofMillis(750)) }
        end.countDown()
        assertEquals("timeout", error.code)
    }

    @Test
    fun `a body that ends early is no answer`() {
        val url = raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        val error = thrown<TransportException> { client(url).tokenBlocking(timeout = Duration.ofMillis(900)) }
        assertTrue(error.code == "transport_failed" || error.code == "timeout", error.code)
    }

    @Test
    fun `an encoded body that nobody asked for is refused, not guessed at`() {
        val url = serve {
            it.responseHeaders.add("content-encoding", "gzip")
            it.token()
        }
        val error = runCatching { client(url).tokenBlocking(timeout = Duration.ofSeconds(5)) }.exceptionOrNull()
        assertTrue(error == null || (error as RemintException).code == "unexpected_answer", "$error")
    }

    @Test
    fun `nothing listens, and nothing was sent`() {
        val port = ServerSocket(0, 1, InetAddress.getLoopbackAddress()).use { it.localPort }
        val error = thrown<TransportException> { client("http://localhost:$port/token").tokenBlocking(timeout = Duration.ofMillis(1500)) }
        assertTrue(error.code == "transport_failed", error.toString())
        assertTrue(error.isRetryable)
    }

    @Test
    fun `requests go through the user's proxy`() {
        val proxy = InetSocketAddress(InetAddress.getLoopbackAddress(), java.net.URI(serve { it.token() }).port)
        // Nobody listens at this port.
        val client = client("http://localhost:9/token") { proxy(AlwaysProxy(proxy)) }
        assertEquals("T1", client.tokenBlocking().accessToken)
        assertEquals(1, requests.size)
    }

    @Test
    fun `the user's SSLContext decides whom to trust, and without it the error says so`(@TempDir folder: Path) {
        val (server, trusting) = tls(folder)
        val url = serve(server) { it.token() }
        assertEquals("T1", client(url) { sslContext(trusting) }.tokenBlocking().accessToken)
        val error = thrown<TransportException> { client(url).tokenBlocking(timeout = Duration.ofMillis(1500)) }
        assertTrue("sslContext" in error.message!!, error.toString())
        assertEquals(1, requests.size)
    }

    @Test
    fun `the user's executor runs the requests and the functions`() {
        val names = ConcurrentLinkedQueue<String>()
        val executor = Executors.newCachedThreadPool { task -> Thread(task, "mine") }
        servers += AutoCloseable { executor.shutdownNow() }
        val client = client(serve { it.token() }) {
            executor(executor)
            clientSecret {
                names += Thread.currentThread().name
                "s3cret"
            }
        }
        assertEquals("T1", client.tokenBlocking().accessToken)
        assertEquals(listOf("mine"), names.toList())
    }

    @Test
    fun `an executor that takes no work fails the call`() {
        val executor = Executors.newSingleThreadExecutor().apply { shutdown() }
        assertEquals("transport_failed", thrown<TransportException> {
            client("http://localhost:9/token") { executor(executor) }.tokenBlocking(timeout = Duration.ofMillis(50))
        }.code)
    }

    /** A server that answers with these bytes and hangs up. */
    private fun raw(answer: String): String {
        val socket = ServerSocket(0, 5, InetAddress.getLoopbackAddress())
        servers += socket
        thread(isDaemon = true) {
            runCatching {
                while (true) {
                    socket.accept().use {
                        it.getInputStream().read(ByteArray(4096))
                        it.getOutputStream().write(answer.toByteArray())
                    }
                }
            }
        }
        return "http://localhost:${socket.localPort}/token"
    }

    /** A server whose certificate nobody else knows, and the context that trusts it. */
    private fun tls(folder: Path): Pair<HttpsServer, SSLContext> {
        val file = folder.resolve("keys.p12")
        val password = "changeit"
        val keytool = Path.of(System.getProperty("java.home"), "bin", "keytool").toString()
        val made = ProcessBuilder(
            keytool, "-genkeypair", "-keyalg", "EC", "-alias", "server", "-dname", "CN=localhost", "-ext", "san=dns:localhost",
            "-storetype", "PKCS12", "-keystore", file.toString(), "-storepass", password,
        ).redirectErrorStream(true).start()
        val output = made.inputStream.readAllBytes().decodeToString()
        assertEquals(0, made.waitFor(), output)
        val keys = Files.newInputStream(file).use { input -> KeyStore.getInstance("PKCS12").apply { load(input, password.toCharArray()) } }
        val trusted = KeyStore.getInstance("PKCS12").apply {
            load(null)
            setCertificateEntry("server", keys.getCertificate("server"))
        }
        val keyManagers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm()).apply { init(keys, password.toCharArray()) }.keyManagers
        val trustManagers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm()).apply { init(trusted) }.trustManagers
        val serving = SSLContext.getInstance("TLS").apply { init(keyManagers, null, null) }
        val server = HttpsServer.create(InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0)
        server.httpsConfigurator = HttpsConfigurator(serving)
        return server to SSLContext.getInstance("TLS").apply { init(null, trustManagers, null) }
    }

    /** Also for localhost, which the JDK's own selector leaves out. */
    private class AlwaysProxy(private val address: InetSocketAddress) : ProxySelector() {
        override fun select(uri: java.net.URI) = listOf(java.net.Proxy(java.net.Proxy.Type.HTTP, address))

        override fun connectFailed(uri: java.net.URI, address: java.net.SocketAddress, failure: java.io.IOException) = Unit
    }

    private companion object {
        const val PROFILE = """{"name":"local","title":"Local","grants":["client_credentials"],
            "variables":{"token_endpoint":{"description":"where","format":"url"}},
            "token":{"endpoint":"{token_endpoint}","client_auth":["client_secret_basic"]}}"""
    }
}
