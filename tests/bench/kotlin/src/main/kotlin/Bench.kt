// Measures us and the peers in one run, and prints how they compare. See tests/bench/README.md.
import com.nimbusds.jose.JWSAlgorithm
import com.nimbusds.jose.jwk.Curve
import com.nimbusds.jose.jwk.ECKey
import com.nimbusds.oauth2.sdk.AccessTokenResponse
import com.nimbusds.oauth2.sdk.ClientCredentialsGrant
import com.nimbusds.oauth2.sdk.Scope
import com.nimbusds.oauth2.sdk.TokenRequest as NimbusRequest
import com.nimbusds.oauth2.sdk.auth.ClientSecretPost
import com.nimbusds.oauth2.sdk.auth.PrivateKeyJWT
import com.nimbusds.oauth2.sdk.auth.Secret as NimbusSecret
import com.nimbusds.oauth2.sdk.dpop.DefaultDPoPProofFactory
import com.nimbusds.oauth2.sdk.http.HTTPResponse
import com.nimbusds.oauth2.sdk.id.ClientID
import com.nimbusds.oauth2.sdk.token.DPoPAccessToken
import dev.remint.Client
import dev.remint.HttpResponse
import dev.remint.SigningKey
import dev.remint.core.Answer
import dev.remint.core.Core
import dev.remint.core.Event
import dev.remint.core.Header
import dev.remint.core.Now
import dev.remint.core.Operation
import dev.remint.core.Secret
import dev.remint.core.SecretBytes
import dev.remint.core.Step
import dev.remint.core.TokenRequest
import dev.remint.core.Want
import io.ktor.client.request.HttpRequestBuilder
import java.io.File
import java.net.URI
import java.nio.ByteBuffer
import java.security.SecureRandom
import java.security.Signature
import java.security.interfaces.ECPrivateKey
import java.security.interfaces.ECPublicKey
import java.util.Base64
import java.util.concurrent.Callable
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CyclicBarrier
import java.util.concurrent.Executors
import java.util.zip.ZipFile
import kotlinx.coroutines.runBlocking

fun main() {
    println("JDK ${Runtime.version()}")
    TokenServer().use { server ->
        cachedToken(server.endpoint)
        awaited(server.endpoint)
        steps()
        signatures()
        coldThreads(server)
        coldStart(server.endpoint)
    }
    sharing()
    size()
}

private fun cachedToken(endpoint: String) {
    val client = remint(endpoint).also { it.tokenBlocking() }
    val google = google(endpoint).also { it.token() }
    val spring = spring(endpoint).also { it.token() }
    val msal = msal(endpoint).also { it.token() }
    val manager = TokenManager(endpoint).also { it.token() }
    val lease = Lease()
    val twoClocks = work("two clock reads", TWO_CLOCKS) { lease.token() }
    compare("Cached token, at once", work("`client.peek()`") { client.peek() }, twoClocks)
    compare(
        "Cached token, blocking",
        work("`client.tokenBlocking()`") { client.tokenBlocking() },
        twoClocks,
        work("TokenManager by hand (phoenix-wallet's sample)") { manager.token() },
        work("google-auth-library `refreshIfExpired()`") { google.token() },
    )
    // Apart from the others: the garbage that they make is collected in somebody else's turn.
    compare(
        "Cached token, of libraries with much to do",
        work("`client.tokenBlocking()`") { client.tokenBlocking() },
        work("Spring Security `authorize()`", 1.0) { spring.token() },
        work("MSAL4J `acquireToken().join()`", 1.0) { msal.token() },
    )
}

private fun awaited(endpoint: String) {
    val client = remint(endpoint).also { it.tokenBlocking() }
    val provider = ktorProvider(endpoint)
    runBlocking { provider.addRequestHeaders(HttpRequestBuilder()) }
    val lease = Lease()
    compare(
        "Cached token, suspending",
        suspendingWork("`client.token()`") { client.token() },
        suspendingWork("two clock reads", TWO_CLOCKS) { lease.token() },
        suspendingWork("Ktor `BearerAuthProvider`, and a request to put it on", 1.0) {
            HttpRequestBuilder().also { provider.addRequestHeaders(it) }
        },
        suspendingWork("that request alone") { HttpRequestBuilder() },
    )
}

/** A token that is good while both clocks say so, and nothing else: nobody can do with less. */
private class Lease {
    private val wall = System.currentTimeMillis() + 3_600_000
    private val boot = System.nanoTime() + 3_600_000_000_000

    fun token(): String? = if (System.currentTimeMillis() < wall && System.nanoTime() < boot) TOKEN else null
}

/** What crosses the boundary: never on the way of a cached token. */
private fun steps() {
    val credentials = """"client_id":"$ID","client_secret":"$SECRET","scope":"$SCOPE""""
    val core = Core(Secret("""{"profile":"phoenix-wallet",$credentials,"policy":{"max_keys":10000000}}"""))
    val now = Now(1_700_000_000_000, 1_000_000)
    val entropy = ByteBuffer.allocateDirect(32)
    val headers = listOf(Header("content-type", Secret("application/json")))
    val body = SecretBytes(ANSWER)
    var keys = 0
    fun ask(subject: String) = core.handle(Event.Ask(Want(subject), 0, false, null, null, null), now, entropy)
    fun coldStep(): Any? {
        val send = ask("user-${keys++}").operations.single() as Operation.Send
        return core.handle(Event.Received(send.op, 200, headers, body), now, entropy)
    }
    coldStep()
    check(ask("user-0").answer is Answer.Use)
    compare(
        "Through the boundary",
        work("a cold key: `ask`, and the 800-byte answer with `received`") { coldStep() },
        work("a key that the core knows: `ask`") { ask("user-0") },
    )

    val authentication = ClientSecretPost(ClientID(ID), NimbusSecret(SECRET))
    val grant = ClientCredentialsGrant()
    val scope = Scope.parse(SCOPE)
    val endpoint = URI("https://auth.phoenixwallet.io/oauth/token")
    compare(
        "Build a request, read an 800-byte token",
        work("`core.build()`, `finish()`") {
            core.build(TokenRequest.ClientCredentials(null)).use { exchange ->
                exchange.request() to exchange.finish(200, headers, body, now)
            }
        },
        work("Nimbus OAuth 2.0 SDK, which Spring Security uses") {
            val sent = NimbusRequest.Builder(endpoint, authentication, grant).scope(scope).build().toHTTPRequest()
            val received = HTTPResponse(200).apply {
                setHeader("Content-Type", "application/json")
                setBody(String(ANSWER))
            }
            sent to AccessTokenResponse.parse(received)
        },
    )
}

/** Proofs of possession and client assertions, made and signed with one ES256 key by Java's own provider. */
private fun signatures() {
    val pair = SigningKey.generateKey("ES256")
    val key = ECKey.Builder(Curve.P_256, pair.public as ECPublicKey).privateKey(pair.private as ECPrivateKey).keyID("k1").build()
    val answer = """{"access_token":"$TOKEN","token_type":"DPoP","expires_in":3600}""".toByteArray()
    val client = Client(SIGNED, ID) {
        signingKey(SigningKey.of(pair, keyId = "k1"), ISSUER)
        dpop(SigningKey.of(pair))
        http { CompletableFuture.completedFuture(HttpResponse(200, mapOf("content-type" to listOf("application/json")), answer)) }
    }
    val factory = DefaultDPoPProofFactory(key, JWSAlgorithm.ES256)
    val token = DPoPAccessToken(TOKEN)
    compare(
        "A proof of possession (DPoP, ES256) for an API request",
        work("`client.headersBlocking()`, with a cached token") { client.headersBlocking("GET", API) },
        work("Nimbus `DPoPProofFactory`") { factory.createDPoPJWT("GET", URI(API), token).serialize() },
    )

    val core = Core(Secret("""{"profile":$SIGNED,"client_id":"$ID","assertion_audience":"$ISSUER","signing_key":{"name":"k1","alg":"ES256","kid":"k1"}}"""))
    var now = Now(1_700_000_000_000, 1_000_000)
    val random = SecureRandom()
    val headers = listOf(Header("content-type", Secret("application/json")))
    val body = SecretBytes(ANSWER)
    fun handle(event: Event): Step {
        val entropy = ByteArray(32).also(random::nextBytes)
        return core.handle(event, now, ByteBuffer.allocateDirect(entropy.size).put(entropy).flip())
    }
    fun assertedToken(): Any? {
        // A token of this very moment would do for whoever forces another.
        now = Now(now.wall + 60_000, now.boot + 60_000)
        val sign = handle(Event.Ask(Want(), 0, true, null, null, null)).operations.single() as Operation.Sign
        val signature = Signature.getInstance("SHA256withECDSAinP1363Format").run { initSign(pair.private); update(sign.input.toByteArray()); sign() }
        val send = handle(Event.Signed(sign.op, Base64.getUrlEncoder().withoutPadding().encodeToString(signature))).operations.single() as Operation.Send
        return send.request to handle(Event.Received(send.op, 200, headers, body))
    }
    val (grant, endpoint) = ClientCredentialsGrant() to URI("$ISSUER/token")
    compare(
        "A token request with `private_key_jwt` (ES256), and its answer read",
        work("the step machine: `ask`, `signed`, `received`") { assertedToken() },
        work("Nimbus OAuth 2.0 SDK") {
            val assertion = PrivateKeyJWT(ClientID(ID), URI(ISSUER), JWSAlgorithm.ES256, pair.private, "k1", null)
            val sent = NimbusRequest.Builder(endpoint, assertion, grant).build().toHTTPRequest()
            val received = HTTPResponse(200).apply {
                setHeader("Content-Type", "application/json")
                setBody(String(ANSWER))
            }
            sent to AccessTokenResponse.parse(received)
        },
    )
    client.close()
}

/** Threads that all ask at once, with nothing cached. */
private fun coldThreads(server: TokenServer) {
    server.latencyMillis = 100
    val rows = SOURCES.map { (name, make) ->
        val source = make(server.endpoint)
        val gate = CyclicBarrier(THREADS)
        val threads = Executors.newFixedThreadPool(THREADS)
        server.counted()
        val asked = threads.invokeAll(List(THREADS) { Callable { gate.await().let { source.token() } } })
        asked.forEach { check(it.get() == TOKEN) }
        threads.shutdown()
        Limit(name, server.counted().toDouble(), "requests", 1.0.takeIf { name == "remint" })
    }
    server.latencyMillis = 0
    limits("$THREADS threads ask at once, nothing cached", rows)
}

/** Fresh processes, each timing its way to a first token. */
private fun coldStart(endpoint: String) {
    fun run(name: String): Double {
        val java = File(System.getProperty("java.home"), "bin/java").path
        val words = listOf(java, "-cp", System.getProperty("java.class.path"), Cold::class.java.name, name, endpoint)
        val process = ProcessBuilder(words).redirectError(ProcessBuilder.Redirect.INHERIT).start()
        return process.inputReader().readText().trim().toDouble().also { check(process.waitFor() == 0) }
    }
    // The first round reads files that are not in memory yet.
    val rounds = List(COLD_ROUNDS + 1) { SOURCES.keys.map(::run) }.drop(1)
    report("Cold start: a first token in a fresh process", "ms", rounds, SOURCES.keys.map { name -> work(name) { } })
}

private fun size() {
    val jar = checkNotNull(Dependencies.jar("dev.remint:remint")) { "Remint comes from somewhere else than its jar" }
    val library = ZipFile(jar).use { zip -> zip.entries().asSequence().single { it.name.endsWith(".so") } }
    val own = listOf(
        Limit("the jar, with the library for one platform", jar.length() / 1e3, "KB", 400.0),
        Limit("its library, packed", library.compressedSize / 1e3, "KB"),
        Limit("its library", library.size / 1e3, "KB"),
    )
    val closures = CLOSURES.map { (name, root) ->
        val needed = Dependencies.of(root)
        Limit("$name, ${needed.size} jars", needed.sumOf { it.length() } / 1e3, "KB")
    }
    limits("Size", own + closures)
}

private const val ISSUER = "https://auth.example.com"
private const val API = "https://api.example.com/v1/wallets"
private const val SIGNED = """{"name":"signed","title":"Signed","grants":["client_credentials"],
    "token":{"endpoint":"$ISSUER/token","client_auth":["private_key_jwt"]},"api_origins":["https://api.example.com"]}"""

/** At most 1.2 × two clock reads. */
private const val TWO_CLOCKS = 0.83
private const val THREADS = 50
private const val COLD_ROUNDS = 7
private val CLOSURES = listOf(
    "remint" to "dev.remint:remint",
    "google-auth-library" to "com.google.auth:google-auth-library-oauth2-http",
    "Spring Security's OAuth 2.0 client" to "org.springframework.security:spring-security-oauth2-client",
    "MSAL4J" to "com.microsoft.azure:msal4j",
    "Ktor's client and bearer provider" to "io.ktor:ktor-client-auth-jvm",
)
