package dev.remint

import java.net.ProxySelector
import java.nio.file.Path
import java.security.PrivateKey
import java.security.SecureRandom
import java.security.cert.X509Certificate
import java.time.Duration
import java.util.concurrent.Executor
import java.util.function.Consumer
import java.util.function.IntFunction
import java.util.function.Supplier
import javax.net.ssl.SSLContext
import javax.net.ssl.X509TrustManager

/**
 * The options of a [Client]. Each is checked by [build], which names the one that is missing, unknown or wrong.
 *
 * @param profile the name of a built-in profile, or the text of a profile document (JSON)
 */
public class Builder internal constructor(profile: String) {
    @Transient
    private val options = LinkedHashMap<String, Any?>().also { it["profile"] = profile }
    private var clientSecret: Supplier<String>? = null
    private var clientAssertion: Supplier<String>? = null
    private val grants = Grants()
    private var signingKey: SigningKey? = null
    private var dpop: SigningKey? = null
    private var isDpopRequired = true
    private var certificate: ClientCertificate? = null
    private var trustManager: X509TrustManager? = null
    private var http: Transport? = null
    private var proxy: ProxySelector? = null
    private var sslContext: SSLContext? = null
    private var executor: Executor? = null
    private var store: Store? = null
    private var onNotice: Consumer<Notice>? = null
    private var clock: Clock = SystemClock
    private var random: IntFunction<ByteArray> = IntFunction { size -> ByteArray(size).also(SECURE_RANDOM::nextBytes) }

    /** The client's identifier (RFC 6749 section 2.2). */
    public fun clientId(clientId: String): Builder = variable("client_id", clientId)

    /** The client's secret (RFC 6749 section 2.3.1). An app on people's own devices has none: see the README. */
    public fun clientSecret(clientSecret: String): Builder {
        options.remove("client_secret_provided")
        this.clientSecret = null
        return variable("client_secret", clientSecret)
    }

    /**
     * A function that gives the client's secret, called before each token request, so that a rotated secret needs no
     * restart. It runs on the client's executor and may block.
     */
    public fun clientSecret(clientSecret: Supplier<String>): Builder {
        options.remove("client_secret")
        this.clientSecret = clientSecret
        return variable("client_secret_provided", true)
    }

    /**
     * The key that the client signs with, in place of a secret (`private_key_jwt`, RFC 7523 section 2.2). [assertionAudience] is
     * the server's issuer identifier, where the profile does not have it. With the grant `jwt_bearer` it signs the assertion that is the grant.
     */
    @JvmOverloads
    public fun signingKey(signingKey: SigningKey, assertionAudience: String? = null): Builder {
        this.signingKey = signingKey
        if (assertionAudience != null) variable("assertion_audience", assertionAudience)
        return variable("signing_key", signingKey.told())
    }

    /**
     * A function that gives a client assertion which was made elsewhere, called before each token request: it reads a projected
     * service-account token again, or asks the platform for one. It runs on the client's executor and may block.
     */
    public fun clientAssertion(clientAssertion: Supplier<String>): Builder {
        this.clientAssertion = clientAssertion
        return variable("client_assertion_provided", true)
    }

    /** The same from a file that a platform keeps up to date, read again for each token request. */
    public fun clientAssertionFile(path: Path): Builder = clientAssertion { readToken(path) }

    /**
     * The key that tokens are bound to (DPoP, RFC 9449): one of its own for the life of the client unless given. Keep the key where you
     * keep refresh tokens, which are bound to it too where the client has no other credential.
     *
     * @param required whether a token that the server did not bind is refused
     */
    @JvmOverloads
    public fun dpop(key: SigningKey = SigningKey.of(SigningKey.generateKey()), required: Boolean = true): Builder {
        this.dpop = key
        isDpopRequired = required
        return variable("dpop", key.toldAsDpop(required))
    }

    /**
     * The certificate that the client shows in TLS (RFC 8705), of PEM files: in place of a secret, or to have tokens bound to it
     * (`variable("certificateBound", true)`). It is for the default transport, which takes up files that were replaced.
     */
    public fun clientCertificate(certificate: Path, key: Path): Builder =
        present(ClientCertificate(listOf(certificate, key)) { credentialOf(certificate, key) })

    /** The same as PEM texts. */
    public fun clientCertificate(certificate: String, key: String): Builder = present(ClientCertificate(emptyList()) { credentialOf(certificate, key) })

    /** The same as Java has them, from a `KeyStore` or a PKCS #11 provider for example. The client's own certificate comes first. */
    public fun clientCertificate(chain: List<X509Certificate>, key: PrivateKey): Builder =
        present(ClientCertificate(emptyList()) { credentialOf(chain, key) })

    /** The certificate alone, which an `sslContext` or `http` of your own presents. */
    public fun clientCertificate(certificate: X509Certificate): Builder = present(ClientCertificate(emptyList()) { Credential(listOf(certificate), null) })

    /** Whom the default transport trusts: those that Java does unless given. */
    public fun trustManager(trustManager: X509TrustManager): Builder = apply { this.trustManager = trustManager }

    /**
     * A function that gives the token to be exchanged (RFC 8693 section 2.1), of your name for the user: called before each token request
     * with the grant `token_exchange`. It runs on the client's executor and may block.
     */
    public fun subjectToken(subjectToken: TokenSupplier): Builder {
        grants.subjectToken = subjectToken
        return variable("subject_token_provided", true)
    }

    /** The same from a file that a platform keeps up to date, read again for each token request. */
    public fun subjectTokenFile(path: Path): Builder = subjectToken { readToken(path) }

    /** The same for the token of who acts for the user (RFC 8693 section 2.1). */
    public fun actorToken(actorToken: TokenSupplier): Builder {
        grants.actorToken = actorToken
        return variable("actor_token_provided", true)
    }

    /** A function that gives the assertion which is the grant (RFC 7523 section 2.1), with the grant `jwt_bearer`. It may block. */
    public fun assertion(assertion: TokenSupplier): Builder {
        grants.assertion = assertion
        return variable("assertion_provided", true)
    }

    /** The API token that the provider's website shows, for profiles with the grant `api_token`. */
    public fun apiToken(apiToken: String): Builder = variable("api_token", apiToken)

    /** The scope to ask for (RFC 6749 section 3.3). Each text may hold several, separated by one space. */
    public fun scope(vararg scope: String): Builder = scope(scope.asList())

    /** The scope to ask for (RFC 6749 section 3.3). Each text may hold several, separated by one space. */
    public fun scope(scope: List<String>): Builder = variable("scope", toScope(scope))

    /**
     * What the profile declares as its variables: `tokenEndpoint`, `baseUrl`, `tenantId` and others, in camel case or as the
     * profile writes them; and the options that have no method of their own: see the README.
     *
     * [value] is what JSON has: a text, number, boolean, list or map, or a [Duration], which counts as seconds.
     */
    public fun variable(name: String, value: Any): Builder = apply { options[toSnakeCase(name)] = value }

    /** Who the token is for, where the server wants to know. The parameter may repeat. */
    public fun audience(vararg audience: String): Builder = variable("audience", audience.asList())

    /** The resources that the token is for, absolute URIs (RFC 8707 section 2). The parameter may repeat. */
    public fun resource(vararg resource: String): Builder = variable("resource", resource.asList())

    /** Further parameters of the token request. A reserved name is refused; an empty value leaves one of the profile's out. */
    public fun parameters(parameters: Map<String, String>): Builder = variable("parameters", LinkedHashMap(parameters))

    /** Where the token may be sent, beside the origins that the profile declares, as in `https://api.example.com`. */
    public fun apiOrigins(vararg apiOrigins: String): Builder = variable("api_origins", apiOrigins.asList())

    /** Permits `http:` for 127.0.0.0/8, ::1 and localhost, nothing else. False unless given. */
    public fun allowLoopbackHttp(allowLoopbackHttp: Boolean): Builder = variable("allow_loopback_http", allowLoopbackHttp)

    /** How requests to the authorization server are sent; by `java.net.http` unless given. Android has none: there it is required. */
    public fun http(http: Transport): Builder = apply { this.http = http }

    /** How long one token request may take: 10 seconds unless given, at least 1 ms and at most 10 minutes. */
    public fun requestTimeout(requestTimeout: Duration): Builder = variable("request_timeout", requestTimeout)

    /** The constants of the behaviour, by their names in the README: numbers of seconds, or [Duration]s. */
    public fun policy(policy: Map<String, Any>): Builder = variable("policy", policy.mapKeys { (name, _) -> toSnakeCase(name) })

    /** The proxies of the default transport; those of the system properties unless given. */
    public fun proxy(proxy: ProxySelector): Builder = apply { this.proxy = proxy }

    /** What the default transport makes TLS connections with, in place of `trustManager` and the key of `clientCertificate`. */
    public fun sslContext(sslContext: SSLContext): Builder = apply { this.sslContext = sslContext }

    /** Where the default transport and functions of yours run; on daemon threads of the library's unless given. */
    public fun executor(executor: Executor): Builder = apply { this.executor = executor }

    /**
     * False where the host freezes between requests, as AWS Lambda does: a caller then waits for a renewal that would
     * otherwise run beside the callers. True unless given.
     */
    public fun backgroundRefresh(backgroundRefresh: Boolean): Builder = variable("aside", backgroundRefresh)

    /** A store that several processes share: a [FileStore], one of `remint-redis`, or your own. Without one, tokens are kept in memory. */
    public fun store(store: Store): Builder = variable("store", true).also { this.store = store }

    /**
     * The keys that records of the store are encrypted with: the first one writes, all of them read, so that a key can be replaced without a pause.
     * Without any, whoever reads the store has the tokens.
     */
    public fun storeKeys(vararg storeKeys: StoreKey): Builder {
        // Nobody who names the option wants records in the clear.
        if (storeKeys.isEmpty()) throw misuse("the option `storeKeys` is empty: give a key, or leave the option out")
        return variable("store_keys", storeKeys.map { mapOf("id" to it.id, "key" to it.key) })
    }

    /** Called with each notice: what happened, never a secret. It must not block; what it throws is logged. */
    public fun onNotice(onNotice: Consumer<Notice>): Builder = apply { this.onNotice = onNotice }

    /** For tests and for Android: the clocks. */
    public fun clock(clock: Clock): Builder = apply { this.clock = clock }

    /** For tests: as many random bytes as asked for. `SecureRandom` unless given. */
    public fun random(random: IntFunction<ByteArray>): Builder = apply { this.random = random }

    /**
     * Checks the options and makes the client. It sends nothing before somebody asks for a token.
     *
     * @throws UsageException if an option is missing, unknown or not allowed; the message names it
     */
    public fun build(): Client = Client(driver(), View(dev.remint.core.Want()))

    /**
     * Checks the options and makes what registers clients at the server, in place of a client: see [Registrar].
     *
     * @throws UsageException if an option is missing, unknown or of no use before there is a client; the message names it
     */
    public fun registrar(): Registrar = Registrar(parts())

    internal fun driver(): Driver {
        val executor = executor ?: Threads.executor
        val transport = transport(executor)
        val keys = Keys(signingKey, dpop, isDpopRequired)
        val shared = store?.let { SharedStore(it, clock, executor) }
        val host = Host(transport, executor, clock, random, clientSecret, clientAssertion, grants, keys, certificate, shared, onNotice)
        return Driver(NativeLibrary.newCore(members(options + checks())), host)
    }

    internal fun parts(): RegistrarParts {
        val timeout = options["request_timeout"] ?: TIMEOUT
        if (timeout !is Duration || timeout < MIN_TIMEOUT || timeout > MAX_TIMEOUT) {
            throw misuse("the option `requestTimeout` is `$timeout`: a `Duration` from 1 ms to 10 minutes is allowed")
        }
        val core = NativeLibrary.newRegistrar(members(options - "request_timeout"))
        // The core has checked it.
        val cap = ((options["policy"] as? Map<*, *>)?.get("answer_cap") as? Number)?.toLong() ?: ANSWER_CAP
        return RegistrarParts(core, transport(executor ?: Threads.executor), clock, timeout, cap)
    }

    private fun members(options: Map<String, Any?>) =
        options.entries.joinToString(",", "{", "}") { (name, value) -> "${toJson(name, name)}:${toJson(name, value)}" }

    private fun transport(executor: Executor): Transport {
        if (http != null && listOfNotNull(proxy, sslContext, trustManager).isNotEmpty()) {
            throw misuse("the options `proxy`, `sslContext` and `trustManager` are for the default transport: leave them out, or `http`")
        }
        return http ?: defaultTransport(executor)
    }

    /** Nobody tells a file store what others write: it is looked at more often, unless the user says how often. */
    private fun checks(): Map<String, Any?> {
        val policy = options["policy"] as? Map<*, *> ?: emptyMap<String, Any>()
        return if (store is FileStore && STORE_CHECK !in policy) mapOf("policy" to policy + (STORE_CHECK to FILE_CHECK)) else emptyMap()
    }

    private fun defaultTransport(executor: Executor): Transport {
        try {
            Class.forName("java.net.http.HttpClient")
        } catch (_: ClassNotFoundException) {
            throw misuse("there is no `java.net.http` here: pass the option `http`, for example a `Transport` that OkHttp sends for")
        }
        return JavaNetTransport(tls(), proxy, executor)
    }

    private fun present(certificate: ClientCertificate): Builder {
        this.certificate = certificate
        return variable("tls_id", certificate.current.tlsId)
    }

    private fun tls(): () -> SSLContext? {
        val (own, certificate, trust) = Triple(sslContext, certificate, trustManager)
        val presents = certificate?.current?.key != null
        return when {
            own != null && (presents || trust != null) ->
                throw misuse("the option `sslContext` takes the place of `trustManager` and of the key of `clientCertificate`: leave out the one or the others")
            own != null -> { -> own }
            certificate != null && !presents -> throw misuse("the option `clientCertificate` has no key: give it, or the `sslContext` or `http` that presents it")
            certificate != null -> TlsOf(certificate, trust)
            trust != null -> sslContextOf(null, trust).let { made -> { made } }
            else -> { -> null }
        }
    }

    private companion object {
        val SECURE_RANDOM = SecureRandom()
        const val STORE_CHECK = "store_check"
        val FILE_CHECK: Duration = Duration.ofMillis(500)
        val TIMEOUT: Duration = Duration.ofSeconds(10)
        val MIN_TIMEOUT: Duration = Duration.ofMillis(1)
        val MAX_TIMEOUT: Duration = Duration.ofMinutes(10)

        /** The policy's own, in bytes. */
        const val ANSWER_CAP = 262_144L
    }
}

/** A scope set, of texts of which each may hold several. */
internal fun toScope(scope: List<String?>): List<String> {
    // Whoever calls from Java may have one.
    if (null in scope) throw misuse("`scope` holds a null: leave it out")
    return scope.joinToString(" ").let { if (it.isEmpty()) emptyList() else it.split(' ') }
}

private fun toSnakeCase(name: String): String = CAPITAL.replace(name) { "_" + it.value.lowercase() }

private val CAPITAL = Regex("[A-Z]")
