package dev.remint.vectors

import dev.remint.Builder
import dev.remint.Client
import dev.remint.HttpResponse
import dev.remint.RemintException
import dev.remint.Token
import dev.remint.core.Now
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.double
import java.net.ConnectException
import java.net.SocketException
import java.time.Duration

/** Plays a vector through [Client], by callers of one kind. */
internal fun runOnClient(vector: JsonObject, host: Host) {
    val given = Given(vector["given"])
    val world = World(given.start)
    val client = clientOf(given, world)
    val play = Play(world, client, host, texts(vector["canaries"]))
    val steps = (vector["steps"] as JsonArray).map { it as? JsonObject ?: throw Problem("  a step must be an object") }
    var index = 0
    try {
        while (index < steps.size) {
            // The waiters who ask again belong to the moment that woke them.
            val first = index
            val clocks = given.clocks(Fields("a step", steps[index++]))
            while (index < steps.size && "after" in steps[index] && given.clocks(Fields("a step", steps[index])) == clocks) index++
            try {
                play.moment(steps.subList(first, index), clocks)
            } catch (problem: Problem) {
                throw Problem("  step ${first + 1} ${steps[first]}\n${problem.message}")
            }
        }
    } finally {
        world.requests.forEach { it.answer.completeExceptionally(ConnectException()) }
        // It may wait for what is in the air, and its clock stands still.
        Threads.run { client.close() }
    }
}

private fun clientOf(given: Given, world: World): Client {
    val profile = given.options["profile"]
    val builder = Client.builder(profile.asText() ?: profile.toString())
        .http(world)
        .clock(world)
        .random { size -> given.entropy.copyOf(size) }
        .onNotice(world::notice)
    for ((name, value) in given.options) builder.option(name, value)
    return builder.build()
}

private fun Builder.option(name: String, value: JsonElement) {
    when (name) {
        "profile" -> Unit
        "client_id" -> clientId(text(name, value))
        "client_secret" -> clientSecret(text(name, value))
        "scope" -> scope(texts(value))
        "policy" -> policy((value as JsonObject).mapValues { (_, value) -> value.asText() ?: value.asLong() ?: (value as JsonPrimitive).double })
        "aside" -> backgroundRefresh((value as JsonPrimitive).booleanOrNull ?: throw Problem("  `aside` must be true or false"))
        "base_url", "issuer", "tenant_id", "token_endpoint" -> variable(name, text(name, value))
        else -> throw Problem("  the option `$name` is not understood in a run through a client")
    }
}

private fun text(name: String, value: JsonElement): String = value.asText() ?: throw Problem("  the option `$name` must be a text")

/** One vector on its way through one client. */
private class Play(private val world: World, private val client: Client, private val host: Host, private val canaries: List<String>) {
    private val callers = HashMap<String, List<Call<Token>>>()
    private val sent = HashMap<String, Pending>()

    fun moment(moment: List<JsonObject>, clocks: Now) {
        world.forgetNotices()
        val before = world.requests.size
        world.now = clocks
        rest()
        while (world.runDue()) rest()
        val check = play(moment.first())
        // Callers get the time they need; then one breath more, for what should not happen.
        val deadline = System.nanoTime() + PATIENCE
        while (System.nanoTime() < deadline && compare(moment, before, check).isNotEmpty()) {
            rest()
            while (world.runDue()) Unit
        }
        rest()
        val differences = compare(moment, before, check)
        if (differences.isNotEmpty()) throw Problem(differences.joinToString("\n"))
    }

    private fun compare(moment: List<JsonObject>, before: Int, check: Check): List<String> {
        val differences = mutableListOf<String>()
        val expected = moment.flatMap { (it["operations"] as? JsonArray).orEmpty() }.map { it as JsonObject }.filter { "send" in it }
        val came = world.requests.drop(before)
        if (came.size != expected.size) differences += difference("requests", expected.size, came.size)
        expected.zip(came).forEach { (operation, request) ->
            sent[operation["send"].asText().orEmpty()] = request
            operation["request"]?.let { subset("request", it, request.json(), differences) }
        }
        for (step in moment) {
            val label = step["ask"].asText() ?: continue
            callers[label].orEmpty().forEach { compareCaller(step.getValue("answer"), it, differences) }
        }
        val listed = telling(moment.flatMap { texts(it["notices"]) })
        val heard = world.notices
        if (!sameNotices(listed, telling(heard))) differences += difference("notices", listed, telling(heard))
        canaries.filter { canary -> heard.any { canary in it } }.forEach { differences += "    a notice shows `$it`" }
        check(differences)
        return differences
    }

    /** A caller who is answered from a lease is not noticed. */
    private fun telling(notices: List<String>) = notices.filter { it != "joined" && it != "served_while_failing" }.sorted()

    private fun compareCaller(expected: JsonElement, call: Call<Token>, differences: MutableList<String>) {
        val (token, error) = call.value to call.error
        val came: JsonElement = when {
            token != null -> members(
                "use" to token.accessToken,
                "generation" to token.generation,
                "token_type" to token.tokenType,
                "scope" to token.scope,
                "authorization" to token.authorization,
                "expires_wall" to token.expiresAt.toEpochMilli(),
                "expires" to world.boot() + token.expiresIn().toMillis(),
            )
            error != null -> failureOf(error)
            else -> JsonPrimitive("waits")
        }
        when {
            expected is JsonObject && "wait" in expected -> if (call.result != null) differences += difference("caller", "waits", came)
            expected is JsonObject && "use" in expected ->
                subset("caller", JsonObject(expected.filterKeys { it != "recheck" && it != "recheck_wall" }), came, differences)
            else -> {
                subset("caller", expected, came, differences)
                val text = error?.stackTraceToString().orEmpty()
                canaries.filter { it in text }.forEach { differences += "    an error shows `$it`" }
            }
        }
    }

    /** Does what the first step of a moment says; gives what is to be checked besides. */
    private fun play(step: JsonObject): Check {
        val word = wordOf(step)
        val fields = Fields("a step", step)
        val view = view(fields.take("want"))
        when (word) {
            "ask" -> if ("after" !in step) {
                val minTtl = fields.long("min_ttl")?.let(Duration::ofMillis)
                val timeout = fields.long("deadline")?.let { Duration.ofMillis(it - world.boot()) }
                val wish = Wish(minTtl, fields.flag("force"), timeout)
                callers[fields.needText("ask")] = List(fields.long("times")?.toInt() ?: 1) { host.token(view, wish) }
            }
            "received" -> {
                val answer = readAnswer(fields)
                val headers = answer.headers.groupBy({ it.first }, { it.second })
                request(step, word).answer.complete(HttpResponse(answer.status, headers, answer.body))
            }
            "failed" -> request(step, word).answer.completeExceptionally(
                when (val kind = fields.needText("kind")) {
                    "not_sent" -> ConnectException()
                    "maybe_sent" -> SocketException()
                    else -> throw Problem("  `$kind` is not understood in a run through a client")
                },
            )
            "attach" -> return check(step, host.headers(view, fields.needText("method"), fields.needText("url"))) { headers ->
                members("headers" to JsonArray(headers.map { (name, value) -> JsonArray(listOf(JsonPrimitive(name), JsonPrimitive(value))) }))
            }
            "answered" -> {
                val token = callers[fields.needText("answered")]?.first()?.value ?: throw Problem("  this caller has no token")
                val headers = readLines(fields.take("headers")).groupBy({ it.first }, { it.second })
                val verdict = host.reject(view, token, fields.needText("url"), fields.needLong("status").toInt(), headers)
                // There, `pass` and `give_up` are both no reason to try again.
                val expected = if (step["answer"] is JsonPrimitive) JsonPrimitive(step["answer"] == JsonPrimitive("retry")) else step.getValue("answer")
                return check(JsonObject(mapOf("answer" to expected)), verdict, ::JsonPrimitive)
            }
            "start" -> {
                val adopt = Fields("`adopt`", (fields.take("start") as? JsonObject)?.get("adopt"))
                val subject = want(adopt.take("want")).subject ?: throw Problem("  a plain `adopt` has a subject")
                client.withSubject(subject, adopt.needText("refresh_token"))
                adopt.end()
            }
            "drop" -> callers.remove(fields.needText("drop")).orEmpty().forEach(host::cancel)
            "invalidate" -> host.invalidate(fields.take("invalidate").let { if (it == JsonPrimitive(true)) client else view(it) })
            "close" -> Threads.run { client.close() }
            "tick" -> Unit
            else -> throw Problem("  `$word` is not understood in a run through a client")
        }
        return {}
    }

    private fun view(value: JsonElement?): Client {
        val want = want(value)
        val subject = want.subject?.let { client.withSubject(it) } ?: client
        return want.scope?.let { subject.withScope(*it.toTypedArray()) } ?: subject
    }

    private fun request(step: JsonObject, word: String): Pending =
        step[word].asText().let { sent[it] ?: throw Problem("  no request is called `$it`") }

    private fun <T> check(step: JsonObject, call: Call<T>, show: (T) -> JsonElement): Check = { differences ->
        val came = call.result?.fold(show, ::failureOf)
        subset("answer", step.getValue("answer"), came, differences)
    }

    private fun rest() = Thread.sleep(2)

    private companion object {
        const val PATIENCE = 5_000_000_000
    }
}

private typealias Check = (differences: MutableList<String>) -> Unit

/** The exceptions of the package, as the core writes its errors: milliseconds, no absent fields. */
private fun failureOf(error: Throwable): JsonObject {
    if (error !is RemintException) throw error
    return members(
        "fail" to error.code,
        "family" to error.family,
        "message" to error.message,
        "hint" to error.hint,
        "status" to error.status,
        "retryable" to error.isRetryable,
        "retry_after" to error.retryAfter?.toMillis(),
        "oauth_error" to error.oauthError,
        "pointer" to error.pointer,
        "lifetime" to error.lifetime?.toMillis(),
        "ambiguous" to true.takeIf { error.isAmbiguous },
        "acr_values" to error.acrValues,
        "max_age" to error.maxAge?.toSeconds(),
    )
}
