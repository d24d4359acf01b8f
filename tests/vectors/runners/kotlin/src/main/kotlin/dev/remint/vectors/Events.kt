package dev.remint.vectors

import dev.remint.core.Adopt
import dev.remint.core.Backchannel
import dev.remint.core.Event
import dev.remint.core.FailureKind
import dev.remint.core.Flow
import dev.remint.core.Header
import dev.remint.core.Introspect
import dev.remint.core.Poll
import dev.remint.core.RegistrationRequest
import dev.remint.core.Renewed
import dev.remint.core.Revoke
import dev.remint.core.Secret
import dev.remint.core.StoreResult
import dev.remint.core.TokenRequest
import dev.remint.core.Want
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive

// What a vector says, as the records of `dev.remint.core`. A member that has no place in them is a problem.

internal fun want(value: JsonElement?): Want {
    if (value == null) return Want()
    val fields = Fields("`want`", value)
    return Want(fields.text("subject"), fields.texts("scope"), fields.texts("resource")).also { fields.end() }
}

internal fun headers(lines: List<Pair<String, String>>): List<Header> = lines.map { (name, value) -> Header(name, Secret(value)) }

internal fun flow(value: JsonElement?): Flow {
    val (name, fields) = tagged("`start`", value)
    val flow = when (name) {
        "authorization_url" ->
            Flow.AuthorizationUrl(fields.needText("redirect_uri"), fields.texts("scope"), parameters(fields), fields.text("authorization_details"))
        "exchange" -> Flow.CodeExchange(secret(fields, "callback"), secret(fields, "session"), fields.text("subject"), fields.flag("on_rotated") ?: false)
        "adopt" -> Flow.Adopt(
            Adopt(
                want(fields.take("want")),
                someSecret(fields, "refresh_token"),
                someSecret(fields, "subject_token"),
                someSecret(fields, "actor_token"),
                fields.flag("on_rotated") ?: false,
            ),
        )
        "device" -> Flow.Device(fields.texts("scope"), parameters(fields))
        "backchannel" -> Flow.Backchannel(
            Backchannel(
                fields.texts("scope"),
                fields.text("login_hint"),
                someSecret(fields, "login_hint_token"),
                someSecret(fields, "id_token_hint"),
                fields.text("binding_message"),
                someSecret(fields, "user_code"),
                fields.long("requested_expiry"),
                fields.text("acr_values"),
                parameters(fields),
            ),
        )
        "poll" -> Flow.Poll(Poll(secret(fields, "session"), fields.text("subject"), fields.flag("on_rotated") ?: false))
        "introspect" -> Flow.Introspect(Introspect(secret(fields, "token"), fields.text("hint")))
        "revoke" -> Flow.Revoke(Revoke(want(fields.take("want")), someSecret(fields, "token"), fields.text("hint")))
        else -> throw Problem("  the flow `$name` is not understood")
    }
    fields.end()
    return flow
}

internal fun renewed(value: JsonElement?): Renewed {
    val fields = Fields("`renewed`", value)
    return Renewed(fields.text("tls_id"), fields.text("signing_key"), fields.text("dpop")).also { fields.end() }
}

internal fun failureKind(text: String): FailureKind =
    FailureKind.entries.find { it.name.lowercase() == text } ?: throw Problem("  the kind `$text` is not understood")

internal fun storeResult(value: JsonElement?): StoreResult {
    when (value.asText()) {
        "ok" -> return StoreResult.Ok
        "none" -> return StoreResult.Missing
        "down" -> return StoreResult.Down
        "unknown" -> return StoreResult.Unknown
    }
    if (value !is JsonObject) throw Problem("  the result `$value` is not understood")
    value["record"]?.let { record -> return StoreResult.Found(Secret(record.asText() ?: throw Problem("  `record` must be a text"))) }
    val (name, fields) = tagged("`result`", value)
    val result = when (name) {
        "locked" -> StoreResult.Locked(someSecret(fields, "record"))
        "held" -> StoreResult.Held(fields.needLong("retry_at"), someSecret(fields, "record"))
        "conflict" -> StoreResult.Conflict(someSecret(fields, "record"))
        else -> throw Problem("  the result `$name` is not understood")
    }
    fields.end()
    return result
}

internal fun tokenRequest(value: JsonElement?): TokenRequest {
    val (name, fields) = tagged("`build`", value)
    val request = when (name) {
        "client_credentials" -> TokenRequest.ClientCredentials(fields.texts("scope"))
        "code" -> TokenRequest.Code(secret(fields, "code"), fields.needText("redirect_uri"), secret(fields, "verifier"))
        "refresh" -> TokenRequest.Refresh(secret(fields, "refresh_token"), fields.texts("scope"))
        "device_code" -> TokenRequest.DeviceCode(secret(fields, "device_code"))
        "ciba" -> TokenRequest.Ciba(secret(fields, "auth_req_id"))
        "token_exchange" -> TokenRequest.TokenExchange(secret(fields, "subject_token"), someSecret(fields, "actor_token"), fields.texts("scope"))
        "jwt_bearer" -> TokenRequest.JwtBearer(secret(fields, "assertion"), fields.texts("scope"))
        "basic_get" -> TokenRequest.BasicGet
        else -> throw Problem("  the request `$name` is not understood")
    }
    fields.end()
    return request
}

internal fun registrationRequest(value: JsonElement?): RegistrationRequest {
    val (name, fields) = tagged("`registration`", value)
    fun at() = fields.needText("registration_client_uri") to secret(fields, "registration_access_token")
    val request = when (name) {
        "register" -> RegistrationRequest.Register(
            secret(fields, "metadata"), someSecret(fields, "initial_access_token"), fields.text("software_statement"),
        )
        "read" -> at().let { (uri, token) -> RegistrationRequest.Read(uri, token) }
        "update" -> at().let { (uri, token) ->
            val (id, shown) = fields.text("client_id") to someSecret(fields, "client_secret")
            RegistrationRequest.Update(uri, token, id, shown, secret(fields, "metadata"))
        }
        "delete" -> at().let { (uri, token) -> RegistrationRequest.Delete(uri, token) }
        else -> throw Problem("  the request `$name` is not understood")
    }
    fields.end()
    return request
}

/**
 * What a host with a typed binding can still say of an event that no host should send: its text in the place of every id,
 * and numbers that mean nothing. All of these must be answered as the vector says.
 */
internal fun garbage(event: JsonElement): List<Event> {
    val text = event.toString()
    val nothing = dev.remint.core.SecretBytes(ByteArray(0))
    return listOf(
        Event.Ask(Want(), 0, false, null, text, null),
        Event.Ask(Want(), 0, false, null, null, text),
        Event.Cancel(text),
        Event.Received(text, 200, emptyList(), nothing),
        Event.Received("o1", -1, emptyList(), nothing),
        Event.Received("o1", 70_000, emptyList(), nothing),
        Event.Failed(text, FailureKind.NOT_SENT),
        Event.Provided(text, Secret(text)),
        Event.Signed(text, text),
        Event.Stored(text, StoreResult.Ok),
        Event.Tick(text),
        Event.Start(Flow.Device(null, emptyMap()), null, text),
        Event.Attach(Want(), text, "GET", "https://api.example/", false, null),
        Event.Attach(Want(), "c4", "GET", "https://api.example/", false, text),
        Event.Answered(Want(), text, null, 401, emptyList()),
        Event.Changed(text),
    )
}

private fun secret(fields: Fields, name: String) = Secret(fields.needText(name))

private fun someSecret(fields: Fields, name: String) = fields.text(name)?.let(::Secret)

private fun parameters(fields: Fields): Map<String, String> = (fields.take("parameters") as? JsonObject).orEmpty()
    .mapValues { (name, text) -> text.asText() ?: throw Problem("  the parameter `$name` must be a text") }

/** The only member of an object: its name, and its value's members. */
private fun tagged(what: String, value: JsonElement?): Pair<String, Fields> {
    val (name, content) = (value as? JsonObject)?.entries?.singleOrNull() ?: throw Problem("  $what must be an object with one member")
    return name to Fields("`$name`", content.takeUnless { it is JsonPrimitive } ?: throw Problem("  `$name` must be an object"))
}
