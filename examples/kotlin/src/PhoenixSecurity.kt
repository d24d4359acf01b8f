// Phoenix Security: a token by GET with Basic authentication, of a server whose clock is off. With OkHttp.
import dev.remint.Client
import dev.remint.okhttp.remint
import okhttp3.OkHttpClient
import okhttp3.Request

private val variables = System.getenv()
private val baseUrl = variables["BASE_URL"] ?: "https://api.securityphoenix.cloud"

fun main() {
    val security = Client("phoenix-security", variables.getValue("CLIENT_ID"), variables.getValue("CLIENT_SECRET")) {
        variable("baseUrl", baseUrl)
        allowLoopbackHttp(true)
        // What happened, for your log. There is never a secret in it.
        onNotice { notice -> System.err.println(notice) }
    }

    val http = OkHttpClient.Builder().remint(security).build()
    val request = Request.Builder().url("$baseUrl/v1/assets").build()
    http.newCall(request).execute().use { assets -> println(assets.body.string()) }
}
