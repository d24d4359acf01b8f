// Rapidomize: a person authorizes the App in a browser; from then on the refresh token does.
import dev.remint.Client
import dev.remint.OnRotated
import dev.remint.okhttp.remint
import okhttp3.OkHttpClient
import okhttp3.Request

private val variables = System.getenv()

suspend fun main() {
    val baseUrl = variables.getValue("BASE_URL")
    val app = Client("rapidomize", variables.getValue("CLIENT_ID"), variables.getValue("CLIENT_SECRET")) {
        variable("tokenEndpoint", variables.getValue("TOKEN_ENDPOINT"))
        variable("authorizationEndpoint", variables.getValue("AUTHORIZATION_ENDPOINT"))
        variables["ISSUER"]?.let { variable("issuer", it) }
        variable("authHeader", "x-rpz-auth")
        variable("baseUrl", baseUrl)
        allowLoopbackHttp(true)
    }

    // In a back end, the user's web session keeps the authorization's `session` until the browser is back.
    val authorization = app.authorizationUrl("http://127.0.0.1/callback")
    println("Open ${authorization.url}")
    println("Paste the address that the browser ends up at:")
    // A database would take it, before anybody gets the access token that came with it.
    val onRotated = OnRotated { _, user -> System.err.println("a new refresh token for $user") }
    app.exchange(readln().trim(), authorization.session, subject = "ann", onRotated)

    val http = OkHttpClient.Builder().remint(app.withSubject("ann")).build()
    val request = Request.Builder().url("$baseUrl/v1/devices").build()
    http.newCall(request).execute().use { devices -> println(devices.body.string()) }
}
