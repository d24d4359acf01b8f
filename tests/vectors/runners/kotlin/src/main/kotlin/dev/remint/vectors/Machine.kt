package dev.remint.vectors

import dev.remint.core.Core
import dev.remint.core.CoreException
import dev.remint.core.Event
import dev.remint.core.Exchange
import dev.remint.core.Now
import dev.remint.core.Registered
import dev.remint.core.Registrar
import dev.remint.core.Registration
import dev.remint.core.Secret
import dev.remint.core.SecretBytes
import dev.remint.core.Step
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import java.nio.ByteBuffer

/** Plays one vector on the step machine. */
internal fun runOnMachine(vector: JsonElement) {
    val fields = Fields("a vector", vector)
    fields.some("id", "title", "covers", "client")
    val canaries = fields.texts("canaries").orEmpty()
    val given = Given(fields.take("given"))
    val refused = fields.take("refused")
    val steps = fields.take("steps") as? JsonArray ?: JsonArray(emptyList())
    fields.end()
    try {
        coreOf(given.options).close()
    } catch (error: CoreException) {
        val failure = failureOf(error)
        if (refused == null) throw Problem("  the configuration is refused: $failure")
        val differences = leaks(JsonObject(mapOf("fail" to failure)), canaries).toMutableList()
        subset("refused", refused, failure, differences)
        if (differences.isNotEmpty()) throw Problem(differences.joinToString("\n"))
        return
    }
    if (refused != null) throw Problem("  the configuration is accepted, and should not be")
    val processes = HashMap<String, Process>()
    val kept = Kept()
    try {
        steps.forEachIndexed { index, step ->
            try {
                val filled = kept.fill(step)
                val own = Fields("a step", filled)
                val name = own.text("process").orEmpty()
                val process = processes.getOrPut(name) { Process(coreOf(given.processes[name] ?: given.options)) }
                process.play(given, own, wordOf(filled as JsonObject), kept, canaries)
            } catch (problem: Problem) {
                throw Problem("  step ${index + 1} $step\n${problem.message}")
            }
        }
    } finally {
        processes.values.forEach(Process::close)
    }
}

private fun coreOf(options: JsonObject) = Core(Secret(options.ascii()))

private fun failureOf(error: CoreException): JsonObject = when (error) {
    is CoreException.Refused -> error.failure.json()
}

internal fun Core.handle(event: Event, now: Now, entropy: ByteArray): Step =
    handle(event, now, ByteBuffer.allocateDirect(entropy.size).put(entropy).flip())

/** One process under test: a core of its own, and what its callers hold. */
private class Process(private val core: Core) : AutoCloseable {
    private val calls = HashMap<String, String>()
    private var built: Pair<Exchange, Now>? = null
    private var registration: Registration? = null

    override fun close() = core.close()

    fun play(given: Given, fields: Fields, word: String, kept: Kept, canaries: List<String>) {
        val now = given.clocks(fields)
        val entropy = fields.text("entropy")?.let(::readEntropy) ?: given.entropy
        val value = fields.take(word) ?: throw Problem("  `$word` says nothing")
        if (word == "simulate") {
            simulate(core, now, entropy, value)
            return fields.end()
        }
        val times = fields.long("times") ?: 1
        val (keep, check) = fields.take("keep") to fields.take("check")
        val act = if (word == "registration") registering(value, given) else act(word, value, fields, now, entropy)
        var expected = fields.some(*OUTPUTS, "notices")
        fields.end()
        repeat(times.toInt()) {
            for (outcome in act()) {
                if (keep != null) {
                    kept.keep(keep, outcome)
                    expected = kept.fill(expected) as JsonObject
                }
                val differences = compareOutcome(expected, outcome) + leaks(outcome, canaries)
                if (differences.isNotEmpty()) throw Problem(differences.joinToString("\n"))
            }
        }
        if (check != null) kept.check(check)
    }

    /** What a step does, as a function that gives what came of it: one outcome, save of an `event`. */
    private fun act(word: String, value: JsonElement, fields: Fields, now: Now, entropy: ByteArray): () -> List<JsonObject> {
        fun handle(event: Event, label: String? = null) = {
            val outcome = core.handle(event, now, entropy).json()
            // The core may give this caller another call to go on with.
            val answer = outcome["answer"] as? JsonObject
            val call = answer?.get("call").asText() ?: answer?.get("again").asText()
            if (label != null && call != null) calls[label] = call
            listOf(outcome)
        }
        val text = value.asText()
        val plain = value == JsonPrimitive(true) || value == JsonObject(emptyMap())
        return when {
            word == "ask" && text != null -> {
                val event = Event.Ask(
                    want(fields.take("want")),
                    fields.long("min_ttl") ?: 0,
                    fields.flag("force") ?: false,
                    fields.long("deadline"),
                    fields.text("after"),
                    fields.text("call")?.let(::call),
                )
                handle(event, text)
            }
            word == "start" -> handle(Event.Start(flow(value), fields.long("deadline"), fields.text("after")))
            word == "renewed" -> handle(Event.Renewed(renewed(value)))
            word == "cancel" && text != null -> handle(Event.Cancel(text))
            word == "tick" && text != null -> handle(Event.Tick(text))
            word == "received" && text != null -> {
                val answer = readAnswer(fields)
                handle(Event.Received(text, answer.status, headers(answer.headers), SecretBytes(answer.body)))
            }
            word == "failed" && text != null -> handle(Event.Failed(text, failureKind(fields.needText("kind"))))
            word == "provided" && text != null -> handle(Event.Provided(text, fields.text("value")?.let(::Secret)))
            word == "signed" && text != null -> handle(Event.Signed(text, fields.needText("signature")))
            word == "verified" && text != null -> handle(Event.Verified(text, fields.flag("valid") ?: throw Problem("  `valid` is missing")))
            word == "stored" && text != null -> handle(Event.Stored(text, storeResult(fields.take("result"))))
            word == "attach" && text != null -> {
                val insecureQuery = fields.flag("insecure_query") ?: false
                val (method, url, after) = Triple(fields.needText("method"), fields.needText("url"), fields.text("after"))
                handle(Event.Attach(want(fields.take("want")), call(text), method, url, insecureQuery, after), text)
            }
            word == "answered" && text != null -> {
                val lines = headers(readLines(fields.take("headers")))
                handle(Event.Answered(want(fields.take("want")), call(text), fields.text("url"), fields.needLong("status").toInt(), lines), text)
            }
            // `true` stands for what is meant most often: everything changed, the client's own token.
            word == "changed" && (text != null || value == JsonPrimitive(true)) -> handle(Event.Changed(text))
            word == "invalidate" -> handle(Event.Invalidate(if (value == JsonPrimitive(true)) want(null) else want(value)))
            word == "forked" && plain -> handle(Event.Forked)
            word == "close" && plain -> handle(Event.Close)
            word == "event" -> { { garbage(value).map { core.handle(it, now, entropy).json() } } }
            word == "drop" -> { { listOf(JsonObject(emptyMap())) } }
            word == "build" -> {
                val request = tokenRequest(value);
                {
                    listOf(
                        try {
                            val exchange = core.build(request)
                            built = exchange to now
                            members("request" to exchange.request().json())
                        } catch (error: CoreException) {
                            members("fail" to failureOf(error))
                        },
                    )
                }
            }
            word == "finish" -> {
                val answer = readAnswer(fields);
                { listOf(finish(answer, now)) }
            }
            else -> throw Problem("  `$word: $value` is not understood")
        }
    }

    private fun call(label: String): String = calls[label] ?: label

    private fun registering(value: JsonElement, given: Given): () -> List<JsonObject> {
        val request = registrationRequest(value)
        return {
            val outcome = try {
                Registrar(Secret(given.registrar.ascii())).use { waitsFor(it.build(request)) }
            } catch (error: CoreException) {
                members("fail" to failureOf(error))
            }
            listOf(outcome)
        }
    }

    private fun waitsFor(next: Registration): JsonObject {
        registration = next
        return members("request" to next.request().json())
    }

    private fun finish(answer: Received, now: Now): JsonObject {
        registration?.let { return finish(it, answer, now) }
        val (exchange, started) = built ?: throw Problem("  there is nothing to finish: `build` it first")
        built = null
        return try {
            members("token" to exchange.finish(answer.status, headers(answer.headers), SecretBytes(answer.body), started).json())
        } catch (error: CoreException) {
            members("fail" to failureOf(error))
        } finally {
            exchange.close()
        }
    }

    private fun finish(asked: Registration, answer: Received, now: Now): JsonObject {
        registration = null
        return try {
            when (val registered = asked.finish(answer.status, headers(answer.headers), SecretBytes(answer.body), now)) {
                is Registered.Next -> waitsFor(registered.registration)
                is Registered.Client -> members("client" to registered.client.json())
                is Registered.Deleted -> members("deleted" to JsonObject(emptyMap()))
            }
        } catch (error: CoreException) {
            members("fail" to failureOf(error))
        } finally {
            asked.close()
        }
    }
}
