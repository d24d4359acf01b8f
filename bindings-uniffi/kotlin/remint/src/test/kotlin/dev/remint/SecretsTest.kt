package dev.remint

import dev.remint.TestServer.Companion.completed
import dev.remint.TestServer.Companion.json
import dev.remint.TestServer.Companion.token
import dev.remint.core.Adopt
import dev.remint.core.Answer
import dev.remint.core.Backchannel
import dev.remint.core.ClientInformation
import dev.remint.core.Event
import dev.remint.core.Flow
import dev.remint.core.Header
import dev.remint.core.Introspect
import dev.remint.core.Lease
import dev.remint.core.Operation
import dev.remint.core.Pending
import dev.remint.core.Poll
import dev.remint.core.Provision
import dev.remint.core.RegistrationRequest
import dev.remint.core.Revoke
import dev.remint.core.Secret
import dev.remint.core.SecretBytes
import dev.remint.core.Step
import dev.remint.core.StoreCommand
import dev.remint.core.StoreResult
import dev.remint.core.TokenRequest
import dev.remint.core.TokenSet
import dev.remint.core.Want
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.NotSerializableException
import java.io.ObjectInputStream
import java.io.ObjectOutputStream
import java.io.PrintWriter
import java.io.StringWriter
import java.lang.reflect.Modifier
import java.net.ConnectException
import java.time.Duration
import dev.remint.core.HttpRequest as CoreRequest

class SecretsTest {
    private val secret = Secret("s3cret")
    private val registered = ClientInformation("id", secret, null, null, secret, "https://a.example/c", "{}")
    private val pending = Pending("WDJB-MJHT", "https://a.example/device", null, "https://a.example/device", 1, 2, secret)

    @Test
    fun `everything that people print shows no secret`() {
        val server = TestServer { completed(token("s3cret-token", more = ""","refresh_token":"s3cret-refresh"""")) }
        val client = client(server)
        val token = client.tokenBlocking()
        val request = server.requests.single()
        val printed = listOf(
            client, token, request, HttpResponse(200, mapOf("a" to listOf("s3cret")), "s3cret".toByteArray()),
            Authorization("https://a.example/?state=s3cret", "s3cret"), InsecureUrl("https://a.example/?token=s3cret", mapOf()),
            Client.builder("phoenix-wallet").clientSecret("s3cret"), Notice("fetched"), ApiCall(client),
            DeviceAuthorization(pending), BackchannelAuthentication(pending), Introspection(true, Secret("""{"sub":"s3cret"}""")),
            HttpRequest("GET", "https://a.example/?s3cret", mapOf(), null, Duration.ZERO, 1, "s3cret"),
            Locked("s3cret"), Held(Duration.ZERO, "s3cret"), Conflict("s3cret"), Saved(), StoreKey("2026-11", "s3cret"),
            Client.builder("phoenix-wallet").storeKeys(StoreKey("2026-11", "s3cret")),
            Registrar("keycloak") { variable("baseUrl", "https://a.example").variable("realm", "r") }, RegisteredClient(registered),
            dev.remint.RegistrationRequest.Register("""{"client_name":"s3cret"}""", "s3cret", "s3cret"), dev.remint.RegistrationRequest.Read("https://a.example/", "s3cret"),
            dev.remint.RegistrationRequest.Update("https://a.example/", "s3cret", "{}", "id", "s3cret"), dev.remint.RegistrationRequest.Delete("https://a.example/", "s3cret"),
        ).joinToString("\n")
        assertFalse("s3cret" in printed, printed)
        assertTrue("tokenType=Bearer" in token.toString())
    }

    @Test
    fun `the records of the step machine print no secret`() {
        val lease = Lease(secret, "Bearer", "Authorization", secret, null, "k", 1, 2, 3, 4, 5, "c", "d")
        val request = CoreRequest("POST", secret, listOf(Header("authorization", secret)), secret)
        val records = listOf(
            secret, SecretBytes("s3cret".toByteArray()), Header("a", secret), lease, request, TokenSet(secret, "Bearer", 1, null, secret, listOf()),
            Event.Provided("o", secret), Event.Received("o", 200, listOf(Header("a", secret)), SecretBytes("s3cret".toByteArray())),
            Event.Start(Flow.CodeExchange(secret, secret, null, false), null, null), Event.Start(Flow.Adopt(Adopt(Want(), secret, secret, secret)), null, null),
            Flow.Backchannel(Backchannel(loginHintToken = secret, idTokenHint = secret, userCode = secret, parameters = emptyMap())), Poll(secret),
            Introspect(secret), Revoke(Want(), secret), Answer.Introspection(true, secret), Answer.Pending(pending), TokenRequest.DeviceCode(secret),
            TokenRequest.Ciba(secret), TokenRequest.TokenExchange(secret, secret, null), TokenRequest.JwtBearer(secret, null),
            Event.Stored("o", StoreResult.Found(secret)), Event.Stored("o", StoreResult.Locked(secret)), Event.Stored("o", StoreResult.Conflict(secret)), Event.Stored("o", StoreResult.Held(1, secret)),
            Answer.Use(lease), Answer.Headers(listOf(Header("a", secret))), Answer.InsecureUrl(secret, listOf()),
            Answer.Authorization("https://a.example/", secret), Operation.Send("o", "f", request, null, 1, 2),
            Operation.Provide("o", "f", Provision.Rotated(null, secret), 1), StoreCommand.Save(secret, secret, 1, null),
            TokenRequest.Code(secret, "https://a.example/", secret), TokenRequest.Refresh(secret, null),
            RegistrationRequest.Register(secret, secret, null), RegistrationRequest.Read("https://a.example/c", secret),
            RegistrationRequest.Update("https://a.example/c", secret, null, secret, secret), RegistrationRequest.Delete("https://a.example/c", secret),
            registered, Operation.Verify("o", "f", "{}", "ES256", secret, "AA", 1),
            Step(Answer.Use(lease), listOf(), listOf(), listOf(), listOf()),
        )
        for (record in records) {
            assertFalse("s3cret" in record.toString(), record.javaClass.name)
            assertTrue("<redacted>" in record.toString(), record.javaClass.name)
        }
    }

    @Test
    fun `no error prints a secret, whatever the server says`() {
        val hostile = listOf(
            json(400, """{"error":"invalid_grant","error_description":"s3cret"}"""),
            json(400, """{"error":"s3cret"}"""),
            json(200, """{"access_token":"s3cret\n","token_type":"Bearer"}"""),
            json(200, """{"access_token":"s3cret","token_type":"mac"}"""),
            json(200, "s3cret"),
            HttpResponse(302, mapOf("location" to listOf("https://a.example/?s3cret")), "s3cret".toByteArray()),
        )
        for (answer in hostile) {
            val error = thrown<RemintException> { client(TestServer { completed(answer) }).tokenBlocking(timeout = Duration.ofMillis(50)) }
            val printed = StringWriter().also { error.printStackTrace(PrintWriter(it)) }.toString()
            assertFalse("s3cret" in printed, printed)
            assertTrue(error.message!!.isNotEmpty())
        }
    }

    @Test
    fun `errors survive serialization with all that they say`() {
        val server = TestServer { throw ConnectException("refused") }
        val error = thrown<TransportException> { client(server).tokenBlocking(timeout = Duration.ofMillis(50)) }
        val bytes = ByteArrayOutputStream().also { ObjectOutputStream(it).writeObject(error) }.toByteArray()
        val copy = ObjectInputStream(ByteArrayInputStream(bytes)).readObject() as TransportException
        assertEquals(error.code, copy.code)
        assertEquals(error.message, copy.message)
        assertEquals(error.retryAfter, copy.retryAfter)
        assertEquals("transport", copy.family)
        assertTrue(copy.isRetryable)
        assertTrue(copy.cause is ConnectException)
    }

    @Test
    fun `clients and tokens refuse serialization`() {
        val client = client(TestServer())
        for (value in listOf(client, client.tokenBlocking())) {
            assertTrue(runCatching { ObjectOutputStream(ByteArrayOutputStream()).writeObject(value) }.exceptionOrNull() is NotSerializableException)
        }
    }

    @Test
    fun `what reads fields or getters by reflection is told to leave secrets out`() {
        for (kind in listOf(Token::class.java, Client::class.java, Authorization::class.java, InsecureUrl::class.java, Secret::class.java, SecretBytes::class.java, Locked::class.java, Conflict::class.java, RegisteredClient::class.java)) {
            val shown = kind.declaredFields.filter { !Modifier.isTransient(it.modifiers) && !Modifier.isStatic(it.modifiers) }.map { it.name }
            assertTrue(shown.all { kind == InsecureUrl::class.java && it == "headers" || kind == Authorization::class.java && it == "url" }, "$kind: $shown")
        }
        for ((kind, getter) in listOf(
            Token::class.java to "getAccessToken", Token::class.java to "getAuthorization",
            Authorization::class.java to "getSession", InsecureUrl::class.java to "getUrl", Locked::class.java to "getRecord", Held::class.java to "getRecord",
            Conflict::class.java to "getRecord", RegisteredClient::class.java to "getClientSecret", RegisteredClient::class.java to "getRegistrationAccessToken",
        )) {
            assertTrue(kind.getMethod(getter).isAnnotationPresent(java.beans.Transient::class.java), getter)
        }
    }

    @Test
    fun `every class can be looked at by reflection without a dependency that is optional`() {
        val root = File(Client::class.java.protectionDomain.codeSource.location.toURI())
        val names = root.walk().filter { it.extension == "class" }.map { it.relativeTo(root).path.removeSuffix(".class").replace(File.separatorChar, '.') }
        val seen = names.filter { it.startsWith("dev.remint.") }.onEach { name ->
            val kind = Class.forName(name, false, javaClass.classLoader)
            kind.declaredMethods
            kind.declaredConstructors
            kind.declaredFields
        }.count()
        assertTrue(seen > 50, "$seen classes")
    }
}
