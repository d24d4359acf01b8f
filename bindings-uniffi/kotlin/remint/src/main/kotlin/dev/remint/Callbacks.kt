package dev.remint

import kotlinx.coroutines.runBlocking

/**
 * Called with each new refresh token of a subject before the access token that came with it is handed out: save it.
 *
 * It runs on the client's executor and may block. If it throws, the token request counts as failed with `host_error`.
 */
public fun interface OnRotated {
    /** Saves [refreshToken], a secret, for [subject]; null stands for the client itself. */
    public fun save(refreshToken: String, subject: String?)

    public companion object {
        /** The same for a function that suspends. */
        @JvmSynthetic
        public fun suspending(save: suspend (refreshToken: String, subject: String?) -> Unit): OnRotated =
            OnRotated { refreshToken, subject -> runBlocking { save(refreshToken, subject) } }
    }
}

/**
 * Gives a token or assertion that is exchanged for an access token: asked before each token request.
 *
 * It runs on the client's executor and may block. If it throws, the token request counts as failed with `host_error`.
 */
public fun interface TokenSupplier {
    /** What is to be exchanged for [subject]'s access token, a secret; null stands for the client itself. */
    public fun get(subject: String?): String

    public companion object {
        /** The same for a function that suspends. */
        @JvmSynthetic
        public fun suspending(get: suspend (subject: String?) -> String): TokenSupplier = TokenSupplier { subject -> runBlocking { get(subject) } }
    }
}
