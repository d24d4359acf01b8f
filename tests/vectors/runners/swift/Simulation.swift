import Foundation
import RemintCore

/// A stretch of time with a caller at every tick and a server that always says the same.
struct Simulation {
    private let core: Core
    private let start: Now
    private let entropy: Data
    private let length: Int64
    private let every: Int64
    private let latency: Int64
    private let bound: Int64
    private let served: Bool
    private let answer: WireAnswer

    init(_ value: JSON, core: Core, start: Now, entropy: Data) throws {
        (self.core, self.start, self.entropy) = (core, start, entropy)
        var fields = try Fields("`simulate`", value)
        guard let length = try fields.integer("for"), let every = try fields.integer("every"),
            let latency = try fields.integer("latency"), let bound = try fields.integer("requests_at_most")
        else { throw Problem("  `simulate` lacks a number") }
        (self.length, self.every, self.latency, self.bound) = (length, every, latency, bound)
        served = try fields.bool("served") ?? true
        answer = try WireAnswer(&fields)
        try fields.end()
    }

    private enum Due {
        case ask(after: String?, deadline: Int64)
        case answer(op: String)
        case tick(flight: String)
    }

    private struct Waiter {
        let flight: String
        let until: Int64
        let deadline: Int64
    }

    func run() throws {
        // Callers come in order; they need no place on the agenda.
        var agenda: [(at: Int64, due: Due)] = []
        func add(_ at: Int64, _ due: Due) {
            let place = agenda.lastIndex { $0.at <= at }.map { $0 + 1 } ?? 0
            agenda.insert((at, due), at: place)
        }
        let body = String(decoding: answer.body, as: UTF8.self)
        let headers = Events.headers(answer.headers)
        var waiters: [Waiter] = []
        var (nextAsk, requests, callers) = (Int64(0), Int64(0), 0)
        while true {
            let isAsk = nextAsk <= length && (agenda.first.map { nextAsk <= $0.at } ?? true)
            if !isAsk && agenda.isEmpty { break }
            let at = isAsk ? nextAsk : agenda[0].at
            if at > length { break }
            let now = Now(wall: start.wall + at, boot: start.boot + at)
            var events: [Due]
            if isAsk {
                nextAsk += every
                callers += 1
                events = [.ask(after: nil, deadline: now.boot + 30_000)]
            } else {
                events = [agenda.removeFirst().due]
            }
            while let due = events.popLast() {
                let step = core.handle(event: event(due, body, headers, requests), now: now, entropy: entropy)
                for operation in step.operations {
                    switch operation {
                    case .send(let op, _, _, _, _, _):
                        requests += 1
                        add(at + latency, .answer(op: op))
                    case .sleep(let flight, let until): add(max(until - start.boot, at), .tick(flight: flight))
                    default: throw Problem("  an operation that a simulation cannot answer: \(outcome(step).text)")
                    }
                }
                if case .ask(_, let deadline) = due {
                    switch step.answer {
                    case .wait(let flight, let until)?:
                        waiters.append(Waiter(flight: flight, until: until, deadline: deadline))
                    case .use(let lease)?:
                        if !served || lease.expires <= now.boot {
                            throw Problem("  a caller got a token that was not to be had at \(now.boot)")
                        }
                    default:
                        if served { throw Problem("  a caller was not served at \(now.boot): \(outcome(step).text)") }
                    }
                }
                for waiter in waiters where step.settled.contains(waiter.flight) || waiter.until <= now.boot {
                    events.append(.ask(after: waiter.flight, deadline: waiter.deadline))
                }
                waiters.removeAll { step.settled.contains($0.flight) || $0.until <= now.boot }
            }
        }
        if requests > bound {
            throw Problem(
                "    requests\n      expected at most \(bound)\n      came     \(requests), for \(callers) callers")
        }
    }

    private func event(_ due: Due, _ body: String, _ headers: [Header], _ requests: Int64) -> Event {
        switch due {
        case .ask(let after, let deadline):
            return .ask(want: Want(), minTtl: 0, force: false, deadline: deadline, after: after, call: nil)
        case .tick(let flight): return .tick(flight: flight)
        case .answer(let op):
            let text = body.replacingOccurrences(of: "{n}", with: String(requests))
            return .received(op: op, status: answer.status, headers: headers, body: SecretBytes(Data(text.utf8)))
        }
    }
}
