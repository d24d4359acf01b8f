package dev.remint.vectors

import dev.remint.core.Answer
import dev.remint.core.ClientInformation
import dev.remint.core.Failure
import dev.remint.core.Header
import dev.remint.core.HttpRequest
import dev.remint.core.Lease
import dev.remint.core.Notice
import dev.remint.core.Operation
import dev.remint.core.Pending
import dev.remint.core.Provision
import dev.remint.core.Secret
import dev.remint.core.Step
import dev.remint.core.StoreCommand
import dev.remint.core.TokenSet
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive

// What came of an event, as vectors write it: absent fields are not there.

internal fun Step.json(): JsonObject = members(
    "answer" to answer?.json(),
    "operations" to list(operations) { it.json() },
    "settled" to list(settled, ::JsonPrimitive),
    "withdraw" to list(withdraw) { members("key" to it.key, "generation" to it.generation) },
    "notices" to list(notices) { JsonPrimitive(text(it)) },
)

private fun Answer.json(): JsonElement = when (this) {
    is Answer.Use -> lease.json()
    is Answer.Wait -> members("wait" to flight, "until" to until)
    is Answer.Headers -> members("headers" to lines(headers))
    is Answer.Pass -> JsonPrimitive("pass")
    is Answer.Retry -> JsonPrimitive("retry")
    is Answer.Again -> members("again" to call)
    is Answer.GiveUp -> JsonPrimitive("give_up")
    is Answer.Authorization -> members("done" to members("url" to url, "session" to session))
    is Answer.InsecureUrl -> members("done" to members("url" to url, "headers" to lines(headers)))
    is Answer.Pending -> members("done" to pending.json())
    is Answer.Introspection -> members("done" to members("active" to active, "introspection" to introspection))
    is Answer.Done -> members("done" to members())
    is Answer.Fail -> failure.json()
}

private fun Pending.json(): JsonObject = members(
    "user_code" to userCode,
    "verification_uri" to verificationUri,
    "verification_uri_complete" to verificationUriComplete,
    "qr_text" to qrText,
    "expires_in" to expiresIn,
    "interval" to interval,
    "session" to session,
)

private fun Lease.json(): JsonObject = members(
    "use" to accessToken,
    "token_type" to tokenType,
    "header" to header,
    "authorization" to authorization,
    "scope" to scope,
    "key" to key,
    "generation" to generation,
    "expires_wall" to expiresWall,
    "expires" to expires,
    "recheck_wall" to recheckWall,
    "recheck" to recheck,
    "call" to call,
    "lease_call" to leaseCall,
)

internal fun Failure.json(): JsonObject = members(
    "fail" to code,
    "family" to family.name.lowercase(),
    "message" to text,
    "hint" to hint,
    "status" to status,
    "retryable" to retryable,
    "retry_after" to retryAfter,
    "oauth_error" to oauthError,
    "pointer" to pointer,
    "lifetime" to lifetime,
    "ambiguous" to true.takeIf { ambiguous },
    "acr_values" to acrValues,
    "max_age" to maxAge,
)

private fun Operation.json(): JsonObject = when (this) {
    is Operation.Send -> members("send" to op, "flight" to flight, "request" to request.json(), "tls_id" to tlsId, "until" to until, "cap" to cap)
    is Operation.Sign -> members("sign" to op, "flight" to flight, "key" to key, "alg" to alg, "input" to input, "until" to until)
    is Operation.Verify -> members("verify" to op, "flight" to flight, "key" to key, "alg" to alg, "input" to input, "signature" to signature, "until" to until)
    is Operation.Provide -> members("provide" to op, "flight" to flight, "until" to until) + when (val what = what) {
        is Provision.ClientSecret -> members("what" to "client_secret")
        is Provision.ClientAssertion -> members("what" to "client_assertion")
        is Provision.SubjectToken -> members("what" to "subject_token", "subject" to what.subject)
        is Provision.ActorToken -> members("what" to "actor_token", "subject" to what.subject)
        is Provision.Assertion -> members("what" to "assertion", "subject" to what.subject)
        is Provision.Rotated -> members("what" to "rotated", "subject" to what.subject, "refresh_token" to what.refreshToken)
    }
    is Operation.Sleep -> members("sleep" to flight, "until" to until)
    is Operation.Store -> members("store" to op, "flight" to flight, "key" to key, "until" to until) + when (val command = command) {
        is StoreCommand.Load -> members("command" to "load")
        is StoreCommand.Lock -> members("command" to "lock", "owner" to command.owner, "ttl" to command.ttl)
        is StoreCommand.Save ->
            members("command" to "save", "expect" to command.expect, "record" to command.record, "ttl" to command.ttl, "unlock" to command.unlock)
    }
}

internal fun HttpRequest.json(): JsonObject = members("method" to method, "url" to url, "headers" to lines(headers), "body" to body)

internal fun TokenSet.json(): JsonObject = members(
    "access_token" to accessToken,
    "token_type" to tokenType,
    "lifetime" to lifetime,
    "scope" to scope,
    "refresh_token" to refreshToken,
    "oddities" to JsonArray(oddities.map { JsonPrimitive(text(it)) }),
)

internal fun ClientInformation.json(): JsonObject = members(
    "client_id" to clientId,
    "client_secret" to clientSecret,
    "client_id_issued_at" to clientIdIssuedAt,
    "client_secret_expires_at" to clientSecretExpiresAt,
    "registration_access_token" to registrationAccessToken,
    "registration_client_uri" to registrationClientUri,
    "metadata" to metadata,
)

private fun text(notice: Notice): String = if (notice.detail == null) notice.name else "${notice.name}:${notice.detail}"

private fun lines(headers: List<Header>): JsonArray = JsonArray(headers.map { JsonArray(listOf(JsonPrimitive(it.name), JsonPrimitive(it.value.expose()))) })

private fun <T> list(items: List<T>, json: (T) -> JsonElement): JsonArray? = items.takeUnless(List<T>::isEmpty)?.let { JsonArray(it.map(json)) }

private operator fun JsonObject.plus(other: JsonObject): JsonObject = JsonObject(toMap() + other.toMap())

/** An object without those members that are null. */
internal fun members(vararg named: Pair<String, Any?>): JsonObject = buildMap {
    for ((name, value) in named) {
        when (value) {
            null -> continue
            is JsonElement -> put(name, value)
            is Secret -> put(name, JsonPrimitive(value.expose()))
            is String -> put(name, JsonPrimitive(value))
            is Number -> put(name, JsonPrimitive(value))
            is Boolean -> put(name, JsonPrimitive(value))
            else -> throw IllegalArgumentException("`$name` is no JSON")
        }
    }
}.let(::JsonObject)
