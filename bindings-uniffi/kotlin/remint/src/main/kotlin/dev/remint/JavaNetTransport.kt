package dev.remint

import java.io.ByteArrayOutputStream
import java.io.IOException
import java.net.ProxySelector
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpConnectTimeoutException
import java.net.http.HttpRequest.BodyPublisher
import java.net.http.HttpRequest.BodyPublishers
import java.net.http.HttpResponse.BodySubscriber
import java.net.http.HttpResponse.ResponseInfo
import java.net.http.HttpTimeoutException
import java.nio.ByteBuffer
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionStage
import java.util.concurrent.Executor
import java.util.concurrent.Flow
import java.util.concurrent.Flow.Subscription
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.locks.ReentrantLock
import javax.net.ssl.SSLContext
import kotlin.concurrent.withLock
import java.net.http.HttpRequest as JavaHttpRequest

/** The default transport. It is loaded only where it is used: Android has no `java.net.http`. */
internal class JavaNetTransport(
    /** What connections are made with: another where the client's certificate was replaced. */
    private val sslContext: () -> SSLContext?,
    private val proxy: ProxySelector?,
    private val executor: Executor,
) : Transport {
    private val lock = ReentrantLock()
    private var made: Pair<SSLContext?, HttpClient>? = null

    /** Connections of two certificates are never shared, so each has a client of its own. */
    private fun client(): HttpClient = lock.withLock {
        val (wanted, old) = sslContext() to made
        if (old != null && old.first === wanted) return old.second
        // From Java 21 it can be closed, which waits for what is under way; before, that is done once nobody refers to it.
        if (old != null) (old.second as Any as? AutoCloseable)?.let { executor.execute(it::close) }
        newClient(wanted).also { made = wanted to it }
    }

    private fun newClient(sslContext: SSLContext?): HttpClient {
        // HTTP/1.1 and no other: an upgrade, or a stream that HTTP/2 refuses, would be sent twice.
        val builder = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).followRedirects(HttpClient.Redirect.NEVER).executor(executor)
        if (sslContext != null) builder.sslContext(sslContext)
        if (proxy != null) builder.proxy(proxy)
        return builder.build()
    }

    override fun send(request: HttpRequest): CompletionStage<HttpResponse> {
        val result = CompletableFuture<HttpResponse>()
        // The trust store is read with the first request: that is not for the caller to wait for.
        executor.execute {
            try {
                exchange(request, result)
            } catch (thrown: Throwable) {
                result.completeExceptionally(TransportFailure(TransportFailure.Kind.NOT_SENT, thrown))
            }
        }
        return result
    }

    private fun exchange(request: HttpRequest, result: CompletableFuture<HttpResponse>) {
        val body = CappedBody(request.cap, result)
        val builder = JavaHttpRequest.newBuilder(URI.create(request.url)).timeout(request.timeout)
        builder.method(request.method, OneBody(request.body ?: ByteArray(0)))
        // It undoes no content coding.
        builder.setHeader("accept-encoding", "identity")
        request.headers.forEach(builder::setHeader)
        val exchange = client().sendAsync(builder.build()) { answer -> body.also { it.answer = answer } }
        // The client's own timeout ends with the headers.
        val alarm = Threads.schedule(request.timeout.toMillis()) { result.completeExceptionally(TransportFailure(TransportFailure.Kind.TIMEOUT)) }
        // It reports in the common pool, which others may block: so the answer is taken where its body ends.
        exchange.whenComplete { answer, thrown ->
            when {
                thrown != null -> result.completeExceptionally(explained(thrown.unwrapped()))
                // The answer of a proxy that refuses to connect: nobody is asked for its body.
                answer.body() == null -> result.completeExceptionally(refused(answer.statusCode()))
            }
        }
        result.whenComplete { _, thrown ->
            alarm.close()
            if (thrown != null) {
                body.cancel()
                exchange.cancel(true)
            }
        }
    }

    private fun refused(status: Int) = TransportFailure(TransportFailure.Kind.NOT_SENT, IOException("the proxy answered with status $status"))

    private fun explained(thrown: Throwable): Throwable = when (thrown) {
        is HttpConnectTimeoutException -> TransportFailure(TransportFailure.Kind.NOT_SENT, thrown)
        is HttpTimeoutException -> TransportFailure(TransportFailure.Kind.TIMEOUT, thrown)
        else -> thrown
    }

    /**
     * A body that is sent once. The JDK sends a GET again if the connection is cut before any byte of the answer; it asks
     * for the length again then, which is where it can be told not to.
     */
    private class OneBody(private val bytes: ByteArray) : BodyPublisher {
        private val isAsked = AtomicBoolean()

        override fun contentLength(): Long {
            check(isAsked.compareAndSet(false, true)) { "the connection was cut before the answer" }
            return bytes.size.toLong()
        }

        override fun subscribe(subscriber: Flow.Subscriber<in ByteBuffer>) = BodyPublishers.ofByteArray(bytes).subscribe(subscriber)
    }

    /** A body as far as it is wanted, and the end of the exchange. */
    private class CappedBody(private val cap: Long, private val result: CompletableFuture<HttpResponse>) : BodySubscriber<Unit> {
        private val bytes = ByteArrayOutputStream()
        private val body = CompletableFuture<Unit>()

        @Volatile var answer: ResponseInfo? = null

        @Volatile private var subscription: Subscription? = null

        fun cancel() {
            subscription?.cancel()
        }

        override fun getBody(): CompletionStage<Unit> = body

        override fun onSubscribe(subscription: Subscription) {
            this.subscription = subscription
            subscription.request(Long.MAX_VALUE)
        }

        override fun onNext(chunks: List<ByteBuffer>) {
            for (chunk in chunks) {
                if (bytes.size() + chunk.remaining() > cap) {
                    cancel()
                    body.completeExceptionally(TransportFailure(TransportFailure.Kind.TOO_LARGE))
                    return
                }
                val read = ByteArray(chunk.remaining())
                chunk.get(read)
                bytes.write(read, 0, read.size)
            }
        }

        override fun onError(thrown: Throwable) {
            body.completeExceptionally(thrown)
        }

        override fun onComplete() {
            body.complete(Unit)
            answer?.let { result.complete(HttpResponse(it.statusCode(), it.headers().map(), bytes.toByteArray())) }
        }
    }
}
