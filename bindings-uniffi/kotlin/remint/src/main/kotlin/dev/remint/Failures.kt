package dev.remint

import dev.remint.core.FailureKind
import java.net.ConnectException
import java.net.NoRouteToHostException
import java.net.SocketTimeoutException
import java.net.UnknownHostException
import java.nio.channels.UnresolvedAddressException
import java.security.cert.CertPathBuilderException
import java.security.cert.CertPathValidatorException
import java.security.cert.CertificateException
import java.util.concurrent.CompletionException
import java.util.concurrent.ExecutionException
import java.util.concurrent.TimeoutException
import javax.net.ssl.SSLHandshakeException
import javax.net.ssl.SSLPeerUnverifiedException

/** Whether a request that failed may have reached the server. Only what is sure not to have left is `NOT_SENT`. */
internal fun failureKind(thrown: Throwable): FailureKind {
    for (error in thrown.chain()) {
        when (error) {
            is TransportFailure -> return FailureKind.valueOf(error.kind.name)
            is ConnectException, is NoRouteToHostException, is UnknownHostException, is UnresolvedAddressException,
            is SSLHandshakeException, is SSLPeerUnverifiedException,
            -> return FailureKind.NOT_SENT
            is SocketTimeoutException, is TimeoutException -> return FailureKind.TIMEOUT
        }
    }
    return FailureKind.MAYBE_SENT
}

/** Whether the server's certificate was refused. */
internal fun isCertificateFailure(thrown: Throwable?): Boolean = thrown != null && thrown.chain().any {
    it is CertificateException || it is CertPathBuilderException || it is CertPathValidatorException || it is SSLPeerUnverifiedException
}

/** What happened, without the wrapping that futures put around it. */
internal fun Throwable.unwrapped(): Throwable {
    var error = this
    while (error is CompletionException || error is ExecutionException) error = error.cause ?: return error
    return error
}

private fun Throwable.chain(): Sequence<Throwable> = generateSequence(this) { it.cause }.take(MAX_CAUSES)

/** A chain of causes may be a ring. */
private const val MAX_CAUSES = 8
