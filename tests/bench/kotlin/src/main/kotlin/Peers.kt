import com.google.api.client.http.javanet.NetHttpTransport
import com.google.auth.oauth2.UserCredentials
import com.microsoft.aad.msal4j.ClientCredentialFactory
import com.microsoft.aad.msal4j.ClientCredentialParameters
import com.microsoft.aad.msal4j.ConfidentialClientApplication
import com.microsoft.aad.msal4j.HttpResponse
import com.microsoft.aad.msal4j.IHttpClient
import dev.remint.Client
import io.ktor.client.plugins.auth.providers.BearerAuthProvider
import io.ktor.client.plugins.auth.providers.BearerTokens
import io.ktor.client.request.HttpRequestBuilder
import io.ktor.http.HttpHeaders
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpRequest.BodyPublishers
import java.net.http.HttpResponse.BodyHandlers
import java.time.Duration
import kotlinx.coroutines.runBlocking
import org.springframework.security.oauth2.client.AuthorizedClientServiceOAuth2AuthorizedClientManager
import org.springframework.security.oauth2.client.InMemoryOAuth2AuthorizedClientService
import org.springframework.security.oauth2.client.OAuth2AuthorizeRequest
import org.springframework.security.oauth2.client.registration.ClientRegistration
import org.springframework.security.oauth2.client.registration.InMemoryClientRegistrationRepository
import org.springframework.security.oauth2.core.AuthorizationGrantType
import org.springframework.security.oauth2.core.ClientAuthenticationMethod

/** Somebody who gets a token of the [TokenServer] and keeps it. */
internal fun interface TokenSource {
    fun token(): String
}

/** Everybody, by name, each made anew with nothing cached; ours first. */
internal val SOURCES: Map<String, (endpoint: String) -> TokenSource> = mapOf(
    "remint" to { endpoint -> remint(endpoint).let { client -> TokenSource { client.tokenBlocking().accessToken } } },
    "google-auth-library" to ::google,
    "Spring Security" to ::spring,
    "MSAL4J" to ::msal,
    "Ktor `BearerAuthProvider`" to ::ktor,
    "TokenManager by hand" to { endpoint -> TokenManager(endpoint) },
)

internal fun remint(endpoint: String): Client = Client("phoenix-wallet", ID, SECRET, SCOPE.split(" ")) {
    variable("tokenEndpoint", endpoint)
    allowLoopbackHttp(true)
}

/** A user's credentials: it has no client credentials for servers other than Google's. */
internal fun google(endpoint: String): TokenSource {
    val credentials = UserCredentials.newBuilder()
        .setClientId(ID)
        .setClientSecret(SECRET)
        .setRefreshToken("a-refresh-token")
        .setTokenServerUri(URI(endpoint))
        .setHttpTransportFactory { NetHttpTransport() }
        .build()
    return TokenSource {
        credentials.refreshIfExpired()
        checkNotNull(credentials.accessToken).tokenValue
    }
}

internal fun spring(endpoint: String): TokenSource {
    val registration = ClientRegistration.withRegistrationId("wallet")
        .clientId(ID)
        .clientSecret(SECRET)
        .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_POST)
        .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
        .tokenUri(endpoint)
        .build()
    val registrations = InMemoryClientRegistrationRepository(registration)
    val manager = AuthorizedClientServiceOAuth2AuthorizedClientManager(registrations, InMemoryOAuth2AuthorizedClientService(registrations))
    val request = OAuth2AuthorizeRequest.withClientRegistrationId("wallet").principal("bench").build()
    return TokenSource { checkNotNull(manager.authorize(request)).accessToken.tokenValue }
}

internal fun msal(endpoint: String): TokenSource {
    // It insists on https and Microsoft's addresses, so that what it sends is brought to the loopback server by the hook for it.
    val http = IHttpClient { request ->
        val answer = post(endpoint, request.body())
        HttpResponse().statusCode(answer.statusCode()).body(answer.body()).apply { addHeaders(answer.headers().map()) }
    }
    val application = ConfidentialClientApplication.builder(ID, ClientCredentialFactory.createFromSecret(SECRET))
        .authority("https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111")
        .instanceDiscovery(false)
        .httpClient(http)
        .build()
    val parameters = ClientCredentialParameters.builder(setOf("https://api.phoenixwallet.io/.default")).build()
    return TokenSource { application.acquireToken(parameters).join().accessToken() }
}

/** Ktor has no token request of its own: `loadTokens` is the user's. */
internal fun ktorProvider(endpoint: String) = BearerAuthProvider(
    loadTokens = { BearerTokens(accessToken(post(endpoint, FORM).body()), null) },
    refreshTokens = { null },
    realm = null,
)

internal fun ktor(endpoint: String): TokenSource {
    val provider = ktorProvider(endpoint)
    return TokenSource {
        val request = HttpRequestBuilder()
        runBlocking { provider.addRequestHeaders(request) }
        checkNotNull(request.headers[HttpHeaders.Authorization]).removePrefix("Bearer ")
    }
}

/** As phoenix-wallet's documentation has it, in Kotlin. */
internal class TokenManager(private val endpoint: String) : TokenSource {
    private var accessToken: String? = null
    private var expiresAt = 0L

    override fun token(): String {
        val held = accessToken
        // With a buffer of five minutes.
        if (held != null && expiresAt > System.currentTimeMillis() + 300_000) return held
        val answer = post(endpoint, FORM).body()
        return accessToken(answer).also {
            accessToken = it
            expiresAt = System.currentTimeMillis() + 3_600_000
        }
    }
}

private fun post(url: String, form: String) =
    HTTP.send(
        HttpRequest.newBuilder(URI(url))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .timeout(Duration.ofSeconds(10))
            .POST(BodyPublishers.ofString(form))
            .build(),
        BodyHandlers.ofString(),
    )

private fun accessToken(answer: String) = answer.substringAfter("\"access_token\":\"").substringBefore('"')

private val HTTP: HttpClient by lazy { HttpClient.newHttpClient() }
private const val FORM = "grant_type=client_credentials&client_id=$ID&client_secret=$SECRET"
