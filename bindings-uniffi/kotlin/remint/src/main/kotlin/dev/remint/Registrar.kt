package dev.remint

import dev.remint.core.ClientInformation
import dev.remint.core.CoreException
import dev.remint.core.Family
import dev.remint.core.FailureKind
import dev.remint.core.Now
import dev.remint.core.Registered
import dev.remint.core.Registration
import dev.remint.core.Secret
import dev.remint.core.SecretBytes
import kotlinx.coroutines.future.await
import java.nio.charset.CharacterCodingException
import java.time.Duration
import java.time.Instant
import java.util.concurrent.CompletableFuture
import dev.remint.core.Registrar as CoreRegistrar
import dev.remint.core.RegistrationRequest as CoreRequest

/**
 * Registers clients at one server (RFC 7591), and looks after what was registered (RFC 7592). It holds nothing, and serves any number of
 * threads.
 *
 * [register] comes three times, as the verbs of [Client] do.
 */
public class Registrar internal constructor(@Transient private val parts: RegistrarParts) {
    /**
     * What registers clients at the server of the profile with this name, or of the profile document with this text. Of the options of a
     * client there are the profile's variables, `allowLoopbackHttp`, `policy`, `requestTimeout`, `clock`, and how requests are sent.
     *
     * @throws UsageException if an option is missing, unknown or of no use before there is a client; the message names it
     */
    public constructor(profile: String, configure: Builder.() -> Unit = {}) : this(Builder(profile).apply(configure).parts())

    /**
     * Registers a client, or looks after a registration: gives the client as it is registered now, and null once it is deleted.
     *
     * Each request is sent once, because a server that saw it may have done what was asked. Where the server's metadata has to be read
     * first there are up to three, each of which may take as long as the option `requestTimeout` says.
     *
     * @throws RemintException as the server answers: `invalid_redirect_uri`, `invalid_client_metadata`, `invalid_software_statement` and
     *   `unapproved_software_statement` (RFC 7591 section 3.2.2), `invalid_client` where it does not accept the token
     */
    public suspend fun register(request: RegistrationRequest): RegisteredClient? = registerAsync(request).await()

    /** Like [register], for a thread that waits. */
    public fun registerBlocking(request: RegistrationRequest): RegisteredClient? = registerAsync(request).awaitBlocking()

    /** Like [register], as a future. Cancelling it gives up waiting; the server may have seen the request. */
    public fun registerAsync(request: RegistrationRequest): CompletableFuture<RegisteredClient?> =
        CompletableFuture<RegisteredClient?>().apply { completing { advance(told { parts.core.build(request.toCore()) }, this) } }.aside()

    private fun advance(registration: Registration, outcome: CompletableFuture<RegisteredClient?>) {
        val (method, url, headers, body) = registration.request()
        val stage = send(HttpRequest(method, url.expose(), headers.toMap(), body?.expose()?.toByteArray(), parts.timeout, parts.cap))
        val alarm = parts.clock.schedule(parts.timeout.toMillis()) { outcome.completeExceptionally(lost(TransportFailure(TransportFailure.Kind.TIMEOUT))) }
        stage.whenComplete { answer, thrown ->
            alarm.close()
            outcome.completing {
                // Whoever wrote the transport in Java may give no answer.
                if (answer == null) throw lost(thrown?.unwrapped() ?: IllegalStateException("the transport gave nothing"))
                if (answer.body.size > parts.cap) throw lost(TransportFailure(TransportFailure.Kind.TOO_LARGE))
                val now = Now(parts.clock.wall(), parts.clock.boot())
                when (val registered = told { registration.finish(answer.status, answer.headers.toLines(), SecretBytes(answer.body), now) }) {
                    is Registered.Next -> advance(registered.registration, outcome)
                    is Registered.Client -> outcome.complete(RegisteredClient(registered.client))
                    is Registered.Deleted -> outcome.complete(null)
                }
            }
        }
        // Whoever leaves, or has waited long enough, takes the request along.
        outcome.whenComplete { _, _ -> stage.cancel(false) }
    }

    private fun send(request: HttpRequest): CompletableFuture<HttpResponse> = try {
        parts.transport.send(request).toCompletableFuture()
    } catch (thrown: Throwable) {
        CompletableFuture.failedFuture(thrown)
    }

    override fun toString(): String = "Registrar(redacted)"
}

/** What a [Registrar] is made of. */
internal class RegistrarParts(val core: CoreRegistrar, val transport: Transport, val clock: Clock, val timeout: Duration, val cap: Long)

/** What to ask of the server. It may hold secrets: printing it shows none. */
public sealed class RegistrationRequest {
    internal abstract fun toCore(): CoreRequest

    override fun toString(): String = "RegistrationRequest.${javaClass.simpleName}(redacted)"

    /**
     * A new client (RFC 7591 section 3.1).
     *
     * @param metadata the client's metadata (RFC 7591 section 2): a JSON object as text
     * @param initialAccessToken what permits the registration, where the server wants that
     * @param softwareStatement what somebody whom the server trusts says about the client: a JWT (RFC 7591 section 2.3)
     */
    public class Register @JvmOverloads constructor(
        @Transient private val metadata: String,
        @Transient private val initialAccessToken: String? = null,
        private val softwareStatement: String? = null,
    ) : RegistrationRequest() {
        /** The same with the metadata as JSON has it: texts, numbers, booleans, lists and maps. */
        @JvmOverloads
        public constructor(metadata: Map<String, Any?>, initialAccessToken: String? = null, softwareStatement: String? = null) :
            this(toJson("metadata", metadata), initialAccessToken, softwareStatement)

        override fun toCore(): CoreRequest = CoreRequest.Register(Secret(metadata), initialAccessToken?.let(::Secret), softwareStatement)
    }

    /**
     * What the server has registered (RFC 7592 section 2.1).
     *
     * @param registrationClientUri where the registration is
     * @param registrationAccessToken what permits to look after it
     */
    public class Read(private val registrationClientUri: String, @Transient private val registrationAccessToken: String) : RegistrationRequest() {
        /** The same for a client that was given both. */
        public constructor(client: RegisteredClient) : this(client.uri(), client.token())

        override fun toCore(): CoreRequest = CoreRequest.Read(registrationClientUri, Secret(registrationAccessToken))
    }

    /**
     * Other metadata in the place of all that was registered (RFC 7592 section 2.2).
     *
     * @param registrationClientUri where the registration is
     * @param registrationAccessToken what permits to look after it
     * @param metadata all of the client's metadata, not only what is new: a JSON object as text
     * @param clientId the client's identifier, unless it is in the metadata
     * @param clientSecret the client's secret, where the server wants to see it again
     */
    public class Update @JvmOverloads constructor(
        private val registrationClientUri: String,
        @Transient private val registrationAccessToken: String,
        @Transient private val metadata: String,
        private val clientId: String? = null,
        @Transient private val clientSecret: String? = null,
    ) : RegistrationRequest() {
        /** The same for a client that was given all of that, with the metadata as JSON has it. */
        public constructor(client: RegisteredClient, metadata: Map<String, Any?>) :
            this(client.uri(), client.token(), toJson("metadata", metadata), client.clientId, client.clientSecret)

        override fun toCore(): CoreRequest =
            CoreRequest.Update(registrationClientUri, Secret(registrationAccessToken), clientId, clientSecret?.let(::Secret), Secret(metadata))
    }

    /**
     * The end of a registration (RFC 7592 section 2.3).
     *
     * @param registrationClientUri where the registration is
     * @param registrationAccessToken what permits to look after it
     */
    public class Delete(private val registrationClientUri: String, @Transient private val registrationAccessToken: String) : RegistrationRequest() {
        /** The same for a client that was given both. */
        public constructor(client: RegisteredClient) : this(client.uri(), client.token())

        override fun toCore(): CoreRequest = CoreRequest.Delete(registrationClientUri, Secret(registrationAccessToken))
    }
}

/**
 * A client as the server has registered it (RFC 7591 section 3.2.1). Keep it, with its secrets: some servers show them once. Printing or
 * serializing it shows no secret.
 */
public class RegisteredClient internal constructor(@Transient private val information: ClientInformation) {
    /** The client's identifier. */
    public val clientId: String get() = information.clientId

    /** Its secret, if it has one. */
    @get:java.beans.Transient
    public val clientSecret: String? get() = information.clientSecret?.expose()

    /** When it was registered, where the server says so. */
    public val clientIdIssuedAt: Instant? get() = information.clientIdIssuedAt?.let(Instant::ofEpochSecond)

    /** When the secret ends; null if it does not. */
    public val clientSecretExpiresAt: Instant? get() = information.clientSecretExpiresAt?.let(Instant::ofEpochSecond)

    /** What permits to look after the registration (RFC 7592 section 3), where the server offers that: a secret. */
    @get:java.beans.Transient
    public val registrationAccessToken: String? get() = information.registrationAccessToken?.expose()

    /** Where the registration is. */
    public val registrationClientUri: String? get() = information.registrationClientUri

    /**
     * What the server registered, which may differ from what was asked for: texts, [Boolean]s, [Long]s or [java.math.BigDecimal]s, lists and
     * maps by name.
     */
    @delegate:Transient
    public val metadata: Map<String, Any?> by lazy {
        @Suppress("UNCHECKED_CAST") // The core gives an object.
        fromJson(information.metadata) as Map<String, Any?>
    }

    internal fun uri(): String = registrationClientUri ?: throw misuse(UNMANAGED)

    internal fun token(): String = registrationAccessToken ?: throw misuse(UNMANAGED)

    override fun toString(): String = "RegisteredClient(clientId=$clientId, registrationClientUri=$registrationClientUri, redacted)"

    private companion object {
        const val UNMANAGED = "the server gave no `registrationClientUri` and `registrationAccessToken` with this client: it offers no management (RFC 7592)"
    }
}

/** What the core gives, or the exception that it refuses with. */
private inline fun <T> told(block: () -> T): T = try {
    block()
} catch (thrown: Exception) {
    throw explained(thrown)
}

private fun explained(thrown: Exception): Exception = when (thrown) {
    is CoreException.Refused -> thrown.failure.toException()
    is CharacterCodingException -> misuse("a text holds half a character (a surrogate without the other): see where it was cut")
    else -> thrown
}

/** There is no answer. Only what surely did not leave may be sent again. */
private fun lost(thrown: Throwable): RemintException {
    val kind = failureKind(thrown)
    val (code, text) = when (kind) {
        FailureKind.NOT_SENT -> "transport_failed" to "the server can't be reached"
        FailureKind.TIMEOUT -> "timeout" to "there was no answer in time: the server may have done what was asked"
        FailureKind.TOO_LARGE -> "answer_too_large" to "the answer is too long to be one of a registration"
        else -> "transport_failed" to "the connection ended before the answer: the server may have done what was asked"
    }
    return failure(code, Family.TRANSPORT, text, retryable = kind == FailureKind.NOT_SENT).toException(thrown)
}
