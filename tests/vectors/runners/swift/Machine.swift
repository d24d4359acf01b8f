import Foundation
import RemintCore

/// A vector on the step machine: the generated binding, event by event.
struct MachineRun {
    private let given: Given
    private let canaries: [String]
    private let refused: JSON?
    private let steps: [JSON]

    init(_ vector: JSON) throws {
        var fields = try Fields("a vector", vector)
        _ = fields.some(["id", "title", "covers", "client"])
        canaries = try fields.strings("canaries") ?? []
        given = try Given(fields.need("given"))
        refused = fields.take("refused")
        steps = fields.take("steps")?.array ?? []
        try fields.end()
    }

    func run() throws {
        do {
            _ = try Process(given.options)
        } catch CoreError.Refused(let failure) {
            let came = failed(failure)
            guard let refused else { throw Problem("  the configuration is refused: \(came.text)") }
            var differences = leaks(.object(["fail": came]), canaries)
            compare("refused", refused, came, &differences)
            if !differences.isEmpty { throw Problem(differences.joined(separator: "\n")) }
            return
        }
        if refused != nil { throw Problem("  the configuration is accepted, and should not be") }

        var kept = Kept()
        var processes: [String: Process] = [:]
        for (index, step) in steps.enumerated() {
            do {
                var fields = try Fields("a step", kept.fill(step))
                let name = try fields.string("process") ?? ""
                let process = try processes[name] ?? Process(given.processes[name] ?? given.options)
                processes[name] = process
                try process.play(&fields, step, given, &kept, canaries)
            } catch let problem as Problem {
                throw Problem("  step \(index + 1) \(step.text)\n\(problem.text)")
            }
        }
    }
}

/// One process under test: a machine of its own, and what its callers hold.
private final class Process {
    private let core: Core
    /// The calls that `use` answers named, by the labels of their callers.
    private var calls: [String: String] = [:]
    private var exchange: (exchange: Exchange, started: Now)?
    private var registration: Registration?

    init(_ options: [String: JSON]) throws {
        core = try Core(options: Secret(JSON.object(options).text))
    }

    func play(_ fields: inout Fields, _ step: JSON, _ given: Given, _ kept: inout Kept, _ canaries: [String]) throws {
        let now = try given.clocks(&fields)
        let entropy = try fields.string("entropy").map(Given.entropy) ?? given.entropy
        let word = try word(of: step)
        let value = try fields.need(word)
        if word == "simulate" {
            try Simulation(value, core: core, start: now, entropy: entropy).run()
            return try fields.end()
        }
        let times = try fields.integer("times") ?? 1
        let (keep, check) = (fields.take("keep"), fields.take("check"))
        let act =
            word == "registration"
            ? try registering(value, given) : try self.act(word, value, &fields, now, entropy)
        var expected = fields.some(outputs + ["notices"])
        try fields.end()
        for _ in 0..<times {
            let outcome = try act()
            if let keep {
                try kept.keep(keep, from: outcome)
                expected = expected.mapValues(kept.fill)
            }
            let differences = compareOutcome(expected, outcome) + leaks(outcome, canaries)
            if !differences.isEmpty { throw Problem(differences.joined(separator: "\n")) }
        }
        if let check { try kept.check(check) }
    }

    private func registering(_ value: JSON, _ given: Given) throws -> () throws -> JSON {
        let wish = try Events.registrationRequest(value)
        return { [self] in
            do {
                let registrar = try Registrar(options: Secret(JSON.object(given.registrar).text))
                return waits(for: try registrar.build(request: wish))
            } catch CoreError.Refused(let failure) {
                return .object(["fail": failed(failure)])
            }
        }
    }

    private func waits(for next: Registration) -> JSON {
        registration = next
        return .object(["request": request(next.request())])
    }

    private func finish(_ asked: Registration, _ answer: WireAnswer, _ now: Now) -> JSON {
        registration = nil
        do {
            let registered = try asked.finish(
                status: answer.status, headers: Events.headers(answer.headers), body: SecretBytes(answer.body), now: now)
            switch registered {
            case .next(let next): return waits(for: next)
            case .client(let known): return .object(["client": client(known)])
            case .deleted: return .object(["deleted": .object([:])])
            }
        } catch CoreError.Refused(let failure) {
            return .object(["fail": failed(failure)])
        } catch {
            return .object(["fail": .string("\(error)")])
        }
    }

    /// What a step does, as a function that gives what came of it.
    private func act(
        _ word: String, _ value: JSON, _ fields: inout Fields, _ now: Now, _ entropy: Data
    ) throws -> () throws -> JSON {
        func handle(_ event: Event) -> () throws -> JSON {
            { [core] in outcome(core.handle(event: event, now: now, entropy: entropy)) }
        }
        func label() throws -> String {
            guard let text = value.string else { throw Problem("  `\(word)` must be a string") }
            return text
        }
        func isPlain(_ value: JSON) throws {
            if value != true && value != .object([:]) { throw Problem("  `\(word): \(value.text)` is not understood") }
        }

        switch word {
        case "ask":
            let (label, want) = (try label(), try Events.want(fields.take("want")))
            let (minTTL, force) = (try fields.integer("min_ttl") ?? 0, try fields.bool("force") ?? false)
            let (deadline, after) = (try fields.integer("deadline"), try fields.string("after"))
            let call = try fields.string("call").map { calls[$0] ?? $0 }
            let event = Event.ask(
                want: want, minTtl: minTTL, force: force, deadline: deadline, after: after, call: call)
            return { [self] in
                let outcome = try handle(event)()
                if let call = outcome["answer"]?["call"]?.string { calls[label] = call }
                return outcome
            }
        case "start":
            return handle(
                .start(
                    flow: try Events.flow(value), deadline: try fields.integer("deadline"),
                    after: try fields.string("after")))
        case "renewed": return handle(.renewed(renewed: try Events.renewed(value)))
        case "cancel": return handle(.cancel(flight: try label()))
        case "tick": return handle(.tick(flight: try label()))
        case "failed": return handle(.failed(op: try label(), kind: try Events.failureKind(fields.string("kind"))))
        case "provided": return handle(.provided(op: try label(), value: try fields.string("value").map { Secret($0) }))
        case "signed": return handle(.signed(op: try label(), signature: try fields.need("signature").string ?? ""))
        case "verified":
            guard let valid = try fields.bool("valid") else { throw Problem("  `valid` must be a boolean") }
            return handle(.verified(op: try label(), valid: valid))
        case "stored": return handle(.stored(op: try label(), result: try Events.storeResult(fields.need("result"))))
        case "received":
            let answer = try WireAnswer(&fields)
            let body = SecretBytes(answer.body)
            return handle(
                .received(op: try label(), status: answer.status, headers: Events.headers(answer.headers), body: body))
        case "attach":
            let label = try label()
            return handle(
                .attach(
                    want: try Events.want(fields.take("want")), call: calls[label] ?? label,
                    method: try fields.string("method") ?? "",
                    url: try fields.string("url") ?? "", insecureQuery: try fields.bool("insecure_query") ?? false,
                    after: try fields.string("after")))
        case "answered":
            let label = try label()
            let headers = Events.headers(try lines(fields.take("headers")))
            guard let status = try fields.integer("status").flatMap(Int32.init(exactly:)) else {
                throw Problem("  `status` is missing")
            }
            let event = Event.answered(
                want: try Events.want(fields.take("want")), call: calls[label] ?? label, url: try fields.string("url"),
                status: status, headers: headers)
            return { [self] in
                let outcome = try handle(event)()
                // The core may give this caller another call to go on with.
                if let call = outcome["answer"]?["again"]?.string { calls[label] = call }
                return outcome
            }
        // `true` stands for what is meant most often: everything changed, the client's own token.
        case "changed": return handle(.changed(key: value == true ? nil : try label()))
        case "invalidate": return handle(.invalidate(want: value == true ? Want() : try Events.want(value)))
        case "forked":
            try isPlain(value)
            return handle(.forked)
        case "close":
            try isPlain(value)
            return handle(.close)
        case "event": return handle(try Events.garbage(value))
        case "drop": return { .object([:]) }
        case "build":
            let wish = try Events.tokenRequest(value)
            return { [self] in
                do {
                    let exchange = try core.build(request: wish)
                    self.exchange = (exchange, now)
                    return .object(["request": request(exchange.request())])
                } catch CoreError.Refused(let failure) {
                    return .object(["fail": failed(failure)])
                }
            }
        case "finish":
            let answer = try WireAnswer(&fields)
            if let registration { return { [self] in finish(registration, answer, now) } }
            guard let (exchange, started) = exchange else { throw Problem("  there is nothing to finish: `build` it first") }
            return { [self] in
                self.exchange = nil
                do {
                    let set = try exchange.finish(
                        status: answer.status, headers: Events.headers(answer.headers), body: SecretBytes(answer.body),
                        started: started)
                    return .object(["token": token(set)])
                } catch CoreError.Refused(let failure) {
                    return .object(["fail": failed(failure)])
                }
            }
        default: throw Problem("  `\(word)` is not understood")
        }
    }
}
