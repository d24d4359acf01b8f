import com.sun.net.httpserver.HttpServer
import java.net.InetAddress
import java.net.InetSocketAddress
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger

/** A token endpoint on loopback, the same for everybody: an 800-byte token for an hour, and a count of the requests. */
internal class TokenServer : AutoCloseable {
    private val requests = AtomicInteger()
    private val threads = Executors.newCachedThreadPool { Thread(it).apply { isDaemon = true } }

    init {
        // Or each answer waits 40 ms for an acknowledgement. It is read when the first server is made.
        System.setProperty("sun.net.httpserver.nodelay", "true")
    }

    private val server = HttpServer.create(InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 128)

    /** How long each answer takes. */
    @Volatile var latencyMillis = 0L

    val endpoint = "http://127.0.0.1:${server.address.port}/token"

    init {
        server.executor = threads
        server.createContext("/") { exchange ->
            exchange.requestBody.readAllBytes()
            requests.incrementAndGet()
            Thread.sleep(latencyMillis)
            exchange.responseHeaders.set("Content-Type", "application/json")
            exchange.sendResponseHeaders(200, ANSWER.size.toLong())
            exchange.responseBody.use { it.write(ANSWER) }
        }
        server.start()
    }

    /** The requests since it was last asked. */
    fun counted(): Int = requests.getAndSet(0)

    override fun close() {
        server.stop(0)
        threads.shutdownNow()
    }
}

internal const val ID = "wallet-client"
internal const val SECRET = "s3cr3t-of-the-wallet"
internal const val SCOPE = "wallets:read wallets:write"
internal val TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.".padEnd(800, 'a')

// Without a scope, for it is granted as it was asked for (RFC 6749 section 5.1): MSAL4J asks for one that nobody else knows.
internal val ANSWER = """{"access_token":"$TOKEN","token_type":"Bearer","expires_in":3600}""".toByteArray()
