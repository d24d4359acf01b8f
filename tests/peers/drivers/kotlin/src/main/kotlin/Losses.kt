package peers

import dev.remint.HttpRequest
import dev.remint.HttpResponse
import dev.remint.Transport
import java.io.IOException
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpResponse.BodyHandlers
import java.net.http.HttpRequest as JavaRequest
import java.net.http.HttpRequest.BodyPublishers
import java.util.concurrent.CompletionStage
import java.util.concurrent.atomic.AtomicInteger

/** The user's own transport, which can lose answers that have arrived. */
internal class Losses : Transport {
    /** How many are still to be lost. */
    val count = AtomicInteger()
    private val http = HttpClient.newHttpClient()

    override fun send(request: HttpRequest): CompletionStage<HttpResponse> {
        val body = request.body?.let(BodyPublishers::ofByteArray) ?: BodyPublishers.noBody()
        val sent = JavaRequest.newBuilder(URI(request.url)).method(request.method, body).timeout(request.timeout)
        request.headers.forEach { (name, value) -> sent.header(name, value) }
        return http.sendAsync(sent.build(), BodyHandlers.ofByteArray()).thenApply { answer ->
            if (count.getAndUpdate { maxOf(0, it - 1) } > 0) throw IOException("the answer was lost on its way")
            HttpResponse(answer.statusCode(), answer.headers().map(), answer.body())
        }
    }
}
