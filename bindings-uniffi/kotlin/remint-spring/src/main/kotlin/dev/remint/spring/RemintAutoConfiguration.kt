package dev.remint.spring

import dev.remint.Builder
import dev.remint.Client
import dev.remint.SigningKey
import dev.remint.UsageException
import java.io.IOException
import java.nio.file.Files
import java.nio.file.Path
import java.time.Duration
import org.springframework.beans.factory.ObjectProvider
import org.springframework.boot.autoconfigure.AutoConfiguration
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty
import org.springframework.boot.autoconfigure.condition.ConditionalOnSingleCandidate
import org.springframework.boot.context.properties.ConfigurationProperties
import org.springframework.boot.context.properties.EnableConfigurationProperties
import org.springframework.context.annotation.Bean

/** What the `remint.*` properties can't say: a transport, a secret from a vault, a store, where notices go. Make it a bean. */
public fun interface ClientCustomizer {
    /** Changes how the client is built, after the properties. */
    public fun customize(builder: Builder)
}

/** The properties of the client, each an option of [Builder] by the same name. */
@ConfigurationProperties("remint")
public class RemintProperties {
    /** A built-in profile's name, or the text of a profile. Without it there is no client. */
    public var profile: String? = null

    /** The client's identifier. */
    public var clientId: String? = null

    /** The client's secret. */
    public var clientSecret: String? = null

    /** The scopes to ask for. */
    public var scope: List<String>? = null

    /** Whether tokens are bound to a key (DPoP, RFC 9449): to one of the client's own, unless there is a [dpopKey]. */
    public var dpop: Boolean = false

    /** The PEM file of the private key that tokens are bound to (RFC 9449). */
    public var dpopKey: Path? = null

    /** The PEM file of the certificate that the client shows in TLS (RFC 8705), with those that lead to its authority. A new one is taken up. */
    public var clientCertificate: Path? = null

    /** The PEM file of its private key. */
    public var clientCertificateKey: Path? = null

    /** Whether tokens are to be bound to the certificate (RFC 8705 section 3). */
    public var certificateBound: Boolean = false

    /** What the profile declares as its variables: `token-endpoint`, `base-url`, `tenant-id` … */
    public var variables: Map<String, String> = emptyMap()

    /** Extra parameters of the token request. */
    public var parameters: Map<String, String> = emptyMap()

    /** Where the token may be sent, beside the origins that the profile declares. */
    public var apiOrigins: List<String> = emptyList()

    /** Whether `http:` is permitted for loopback addresses. */
    public var allowLoopbackHttp: Boolean = false

    /** How long one token request may take. */
    public var requestTimeout: Duration? = null

    /** False for hosts that freeze between requests, as AWS Lambda does. */
    public var backgroundRefresh: Boolean = true

    /** Whether the interceptors follow redirects themselves: see [RemintRequestInterceptor]. */
    public var followRedirects: Boolean = false
}

/** A [Client] made of the `remint.*` properties, closed with the application. A `Client` bean of your own takes its place. */
@AutoConfiguration
@EnableConfigurationProperties(RemintProperties::class)
public class RemintAutoConfiguration {
    /** The client. */
    @Bean(destroyMethod = "close")
    @ConditionalOnMissingBean
    @ConditionalOnProperty("remint.profile")
    public fun remintClient(properties: RemintProperties, customizers: ObjectProvider<ClientCustomizer>): Client {
        val builder = Client.builder(checkNotNull(properties.profile))
        properties.clientId?.let(builder::clientId)
        properties.clientSecret?.let { builder.clientSecret(it) }
        properties.scope?.let { builder.scope(it) }
        properties.variables.forEach { (name, value) -> builder.variable(name.replace('-', '_'), value) }
        if (properties.parameters.isNotEmpty()) builder.parameters(properties.parameters)
        builder.apiOrigins(*properties.apiOrigins.toTypedArray())
        builder.allowLoopbackHttp(properties.allowLoopbackHttp)
        properties.requestTimeout?.let(builder::requestTimeout)
        builder.backgroundRefresh(properties.backgroundRefresh)
        properties.possession(builder)
        customizers.orderedStream().forEach { it.customize(builder) }
        return builder.build()
    }
}

private fun RemintProperties.possession(builder: Builder) {
    val (key, certificate, certificateKey) = Triple(dpopKey, clientCertificate, clientCertificateKey)
    if (key != null) builder.dpop(SigningKey.pem(read(key))) else if (dpop) builder.dpop()
    if ((certificate == null) != (certificateKey == null)) {
        throw UsageException("the properties `remint.client-certificate` and `remint.client-certificate-key` go together: give both")
    }
    if (certificate != null && certificateKey != null) builder.clientCertificate(certificate, certificateKey)
    if (certificateBound) builder.variable("certificateBound", true)
}

private fun read(key: Path): String = try {
    Files.readString(key)
} catch (_: IOException) {
    throw UsageException("the file `$key` of the property `remint.dpop-key` cannot be read: see whether it is there, and its permissions")
}

/** A [RemintRequestInterceptor] for the one [Client], where there is `RestClient` or `RestTemplate`. */
@AutoConfiguration(after = [RemintAutoConfiguration::class])
@ConditionalOnClass(name = ["org.springframework.http.client.ClientHttpRequestInterceptor"])
@ConditionalOnSingleCandidate(Client::class)
public class RemintRestClientAutoConfiguration {
    /** Puts the client's token on requests. */
    @Bean
    @ConditionalOnMissingBean
    public fun remintRequestInterceptor(client: Client, properties: RemintProperties): RemintRequestInterceptor =
        RemintRequestInterceptor(client, properties.followRedirects)
}

/** A [RemintExchangeFilter] for the one [Client], where there is `WebClient`. */
@AutoConfiguration(after = [RemintAutoConfiguration::class])
@ConditionalOnClass(name = ["org.springframework.web.reactive.function.client.ExchangeFilterFunction"])
@ConditionalOnSingleCandidate(Client::class)
public class RemintWebClientAutoConfiguration {
    /** Puts the client's token on requests. */
    @Bean
    @ConditionalOnMissingBean
    public fun remintExchangeFilter(client: Client, properties: RemintProperties): RemintExchangeFilter =
        RemintExchangeFilter(client, properties.followRedirects)
}
