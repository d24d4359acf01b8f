package dev.remint.spring

import dev.remint.Client
import dev.remint.adapters.AdapterContract
import dev.remint.adapters.Answer
import dev.remint.adapters.Body
import dev.remint.adapters.Caller
import dev.remint.adapters.Pending
import dev.remint.adapters.text
import java.net.URI
import java.util.concurrent.CompletableFuture
import java.util.concurrent.Executors
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.springframework.http.HttpMethod
import org.springframework.http.StreamingHttpOutputMessage
import org.springframework.http.client.JdkClientHttpRequestFactory
import org.springframework.http.client.reactive.JdkClientHttpConnector
import org.springframework.web.client.RestClient
import org.springframework.web.client.RestTemplate
import org.springframework.web.reactive.function.BodyInserters
import org.springframework.web.reactive.function.client.WebClient
import reactor.core.publisher.Flux
import reactor.core.publisher.Mono

class RestClientTest : AdapterContract() {
    override fun caller(client: Client): Caller = RestClientCaller(
        RestClient.builder().requestFactory(JdkClientHttpRequestFactory())
            .requestInterceptor(RemintRequestInterceptor(client, followRedirects = true)).build(),
    )

    /** Spring reads it into memory. */
    @Test
    override fun `a body that can be sent only once is not repeated and that is said`() {
        val client = lane.client()
        client.call(lane.api)
        lane.revoke()
        val answer = client.call(lane.api, "POST", Body("once", onlyOnce = true))
        assertEquals(listOf(200, 2, 4), listOf(answer.status, answer.tokenNumber, answer.json.text("body_bytes").toInt()))
    }

    @Test
    fun `a RestTemplate takes the same interceptor`() {
        val rest = RestTemplate(JdkClientHttpRequestFactory()).apply { interceptors.add(RemintRequestInterceptor(lane.client())) }
        assertEquals(200, rest.getForEntity(lane.api, String::class.java).statusCode.value())
        lane.revoke()
        assertEquals(200, rest.postForEntity(lane.api, "again", String::class.java).statusCode.value())
    }

    @Test
    fun `interceptors before it see one exchange`() {
        val seen = mutableListOf<Int>()
        val client = lane.client()
        val rest = RestClient.builder().requestFactory(JdkClientHttpRequestFactory())
            .requestInterceptor { request, body, execution -> execution.execute(request, body).also { seen += it.statusCode.value() } }
            .requestInterceptor(RemintRequestInterceptor(client))
            .build()
        RestClientCaller(rest).use { caller ->
            caller.start("GET", lane.api, null).await()
            lane.revoke()
            caller.start("GET", lane.api, null).await()
        }
        assertEquals(listOf(200, 200), seen)
    }

    @Test
    fun `redirects are the caller's unless they are asked for`() {
        val rest = RestClient.builder().requestFactory(JdkClientHttpRequestFactory()).requestInterceptor(RemintRequestInterceptor(lane.client())).build()
        assertEquals(307, RestClientCaller(rest).use { it.start("GET", lane.redirect(lane.api), null).await() }.status)
    }
}

class WebClientTest : AdapterContract() {
    override fun caller(client: Client): Caller = WebClientCaller(
        WebClient.builder().clientConnector(JdkClientHttpConnector()).filter(RemintExchangeFilter(client, followRedirects = true)).build(),
    )

    @Test
    fun `redirects are the caller's unless they are asked for`() {
        val web = WebClient.builder().clientConnector(JdkClientHttpConnector()).filter(RemintExchangeFilter(lane.client())).build()
        assertEquals(307, WebClientCaller(web).use { it.start("GET", lane.redirect(lane.api), null).await() }.status)
    }

    @Test
    fun `what else was meant for the first origin is taken off, too`() {
        val client = lane.client()
        val web = WebClient.builder().clientConnector(JdkClientHttpConnector()).filter(RemintExchangeFilter(client, followRedirects = true)).build()
        val sent = web.get().uri(URI(lane.redirect(lane.otherUrl("echo")))).cookie("session", "1").header("Proxy-Authorization", "x").header("X-Other", "y")
            .retrieve().bodyToMono(String::class.java).block()!!.lowercase()
        assertEquals(listOf(false, false, true), listOf("cookie", "proxy-authorization", "x-other").map { it in sent })
    }

    @Test
    fun `a form is sent again`() {
        val client = lane.client()
        client.call(lane.api)
        lane.revoke()
        val web = WebClient.builder().clientConnector(JdkClientHttpConnector()).filter(RemintExchangeFilter(client)).build()
        val sent = web.post().uri(lane.api).body(BodyInserters.fromFormData("a", "b")).retrieve().bodyToMono(String::class.java).block()
        assertEquals(true, sent!!.contains("\"body_bytes\":3"))
    }
}

private class RestClientCaller(private val rest: RestClient) : Caller {
    private val threads = Executors.newCachedThreadPool()

    override fun start(method: String, url: String, body: Body?): Pending {
        val answer = CompletableFuture<Answer>()
        val task = threads.submit {
            try {
                val request = rest.method(HttpMethod.valueOf(method)).uri(URI(url))
                body?.run { if (onlyOnce) request.body(StreamingHttpOutputMessage.Body { it.write(text.toByteArray()) }) else request.body(text) }
                answer.complete(request.exchange { _, response -> Answer(response.statusCode.value(), response.body.readAllBytes().decodeToString()) })
            } catch (e: Throwable) {
                answer.completeExceptionally(e)
            }
        }
        return Pending(answer) { task.cancel(true) }
    }

    override fun close() {
        threads.shutdownNow()
    }
}

private class WebClientCaller(private val web: WebClient) : Caller {
    override fun start(method: String, url: String, body: Body?): Pending {
        val request = web.method(HttpMethod.valueOf(method)).uri(URI(url))
        body?.run { if (onlyOnce) request.body(Flux.just(text), String::class.java) else request.bodyValue(text) }
        val answer = request.exchangeToMono { response ->
            response.bodyToMono(String::class.java).defaultIfEmpty("").map { Answer(response.statusCode().value(), it) }
        }.toFuture()
        return Pending(answer) { answer.cancel(true) }
    }

    override fun close() {}
}
