import Foundation
internal import RemintCore

/// One wish, and the lease that answers it without a look into the core.
///
/// `@unchecked`: `lease` and `key` are touched under the driver's lock for leases only.
final class View: @unchecked Sendable {
    let want: Want
    fileprivate var lease: Lease?
    /// Its cache key, once there was a token.
    fileprivate var key: String?

    init(_ want: Want = Want()) {
        self.want = want
    }

    fileprivate func token(_ wall: Int64, _ boot: Int64) -> Token? {
        guard let lease, wall < lease.recheckWall, boot < lease.recheck else { return nil }
        return lease.token
    }
}

/// A token that is answered from without asking the core, while both clocks are before `recheck`. There is one for each
/// cache key, so that withdrawing it reaches everybody.
///
/// `@unchecked`: what changes is touched under the driver's lock for leases only.
private final class Lease: @unchecked Sendable {
    let token: Token
    let generation: Int64
    var recheck: Int64
    var recheckWall: Int64
    /// What the wall clock showed when both clocks were last looked at.
    var seen = Int64.min

    init(_ lease: RemintCore.Lease, clock: SystemOrTestClock) {
        token = Token(lease, call: lease.leaseCall, clock: clock)
        generation = lease.generation
        recheck = lease.recheck
        recheckWall = lease.recheckWall
    }

    func end() {
        recheck = .min
        recheckWall = .min
        seen = .min
    }
}

/// The user's functions, each for one kind of thing that the core wants provided.
struct Providers: Sendable {
    var clientSecret: SecretProvider?
    var clientAssertion: SecretProvider?
    var subjectToken: SubjectProvider?
    var actorToken: SubjectProvider?
    var assertion: SubjectProvider?

    func provide(_ what: Provision) async throws -> Secret? {
        let text: String? =
            switch what {
            case .clientSecret: try await clientSecret?()
            case .clientAssertion: try await clientAssertion?()
            case .subjectToken(let subject): try await subjectToken?(subject)
            case .actorToken(let subject): try await actorToken?(subject)
            case .assertion(let subject): try await assertion?(subject)
            // Where tokens are saved, the driver knows.
            case .rotated: nil
            }
        return text.map { Secret($0) }
    }
}

/// A key that signs, by the name that the core has for it.
struct NamedKey: Sendable {
    let name: String
    let sign: @Sendable (_ input: Data, _ algorithm: String) async throws -> Data
}

/// Everything that the loop needs of its surroundings.
struct Host: Sendable {
    let http: any HTTPClient
    let clock: SystemOrTestClock
    let random: (@Sendable (Int) -> Data)?
    let providers: Providers
    let store: (any Store)?
    let verifier: Verifier?
    let onStoreError: OnStoreError?
    let onNotice: OnNotice?
}

/// The one loop: gives the core events, and does what it answers. It decides nothing.
final class Driver: Sendable {
    let host: Host
    private let core: Core
    private let state: Guarded<State>
    /// Guards every view's and lease's own fields. Taken after `state`, or alone: callers who are answered from a lease
    /// wait for no step of the core.
    private let leaseLock = NSLock()

    private struct State {
        var flights: [String: Flight] = [:]
        var leases: [String: Lease] = [:]
        /// Requests and calls of the user's functions that are under way, by operation.
        var running: Set<String> = []
        var closing: [CheckedContinuation<Void, Never>] = []
        /// The host's own errors, for the waiters of the flights that they ended.
        var causes: [(flight: String, error: any Error)] = []
        /// The wishes whose token an API refused last: the core wants to hear of the first answer after that, too.
        var refused: Set<Want> = []
        var onRotated: [String?: OnRotated] = [:]
        /// The newest first. Those that were replaced may have to sign what was under way.
        var keys: [NamedKey]
        var renewals = 0
        /// What hears of other processes' changes to the store.
        var hearing: Task<Void, Never>?
        /// The thumbprint of the certificate that API requests go out with.
        var certificate: String?
        var waiters: UInt64 = 0
    }

    /// A flight in the air.
    private struct Flight {
        var waiters: [UInt64: (continuation: CheckedContinuation<Void, any Error>, until: Int64)] = [:]
        /// One timer for all who wait until the same time.
        var alarms: [Int64: Task<Void, Never>] = [:]
        var sleep: Task<Void, Never>?
        /// Whose token it renews, if that is known.
        var key: String?
    }

    /// What follows from a step, to be done when the lock is free again.
    private struct Consequences {
        var operations: [RemintCore.Operation] = []
        var settled: [Flight] = []
        var notices: [RemintCore.Notice] = []
    }

    init(core: Core, host: Host, keys: [NamedKey], certificate: String?) {
        self.core = core
        self.host = host
        state = Guarded(State(keys: keys, certificate: certificate))
    }

    // MARK: What callers do

    /// The token that may be answered with now. This is the whole hot path.
    func fresh(_ view: View) -> Token? {
        // A test's clocks are its own code: not under a lock.
        if let test = host.clock.test {
            let now = test.now()
            return leaseLock.withLock { view.token(now.wall, now.boot) }
        }
        let wall = SystemOrTestClock.systemWall()
        leaseLock.lock()
        defer { leaseLock.unlock() }
        // Nothing has run out since in the same millisecond.
        if let lease = view.lease, lease.seen == wall { return lease.token }
        let token = view.token(wall, SystemOrTestClock.systemBoot())
        if token != nil { view.lease?.seen = wall }
        return token
    }

    /// A token for a caller, who may be cancelled; the flight that they wait for goes on for the others.
    func acquire(_ view: View, _ ask: Ask = Ask(), after flight: Flown? = nil) async throws -> Token {
        let answer = try await answer(for: view, after: flight) { after in
            .ask(
                want: view.want, minTtl: ask.minTTL, force: ask.force, deadline: ask.deadline, after: after,
                call: ask.call)
        }
        guard case .use(let lease) = answer else { throw unexpected(answer) }
        return Token(lease, call: lease.call, clock: host.clock)
    }

    /// A flow, from its start to its value.
    func run(_ flow: Flow, deadline: Int64?) async throws -> Answer {
        try await answer { .start(flow: flow, deadline: deadline, after: $0) }
    }

    /// A flow that ends in a token.
    ///
    /// - Parameter isOwn: Whether it is nobody else's, and ends when the caller does.
    func token(of flow: Flow, subject: String?, deadline: Int64?, isOwn: Bool) async throws -> Token {
        switch handle(.start(flow: flow, deadline: deadline, after: nil)) {
        case .wait(let id, let until):
            do {
                return try await acquire(
                    View(Want(subject: subject)), Ask(deadline: deadline), after: Flown(id: id, until: until))
            } catch {
                if isOwn { handle(.cancel(flight: id)) }
                throw error
            }
        case let answer: throw unexpected(answer)
        }
    }

    /// Asks, and asks again after each flight that the core says to wait for, until there is an answer. One that is a
    /// failure is thrown.
    private func answer(
        for view: View? = nil, after flight: Flown? = nil, _ event: (_ after: String?) -> Event
    ) async throws -> Answer {
        var flight = flight
        while true {
            try Task.checkCancellation()
            var cause: (any Error)?
            if let flight {
                try await settled(flight.id, until: flight.until)
                cause = state.withLock { state in state.causes.last { $0.flight == flight.id }?.error }
            }
            switch handle(event(flight?.id), for: view) {
            case .wait(let id, let until): flight = Flown(id: id, until: until)
            case .fail(let failure): throw unexpected(.fail(failure: failure), cause)
            case let answer?: return answer
            case nil: throw unexpected(nil)
            }
        }
    }

    /// What to put on one request with a token in hand: headers, or a URL that holds it. Nothing if that token was
    /// withdrawn meanwhile.
    func attached(_ view: View, call: String, _ request: (method: String, url: String), inQuery: Bool = false)
        async throws -> Attached?
    {
        let answer = try await answer { after in
            .attach(
                want: view.want, call: call, method: request.method, url: request.url, insecureQuery: inQuery,
                after: after)
        }
        switch answer {
        case .headers(let headers): return Attached(call: call, url: nil, headers: headers.map(\.line))
        case .insecureUrl(let url, let headers): return Attached(call: call, url: url, headers: headers.map(\.line))
        case .retry: return nil
        default: throw unexpected(answer)
        }
    }

    /// A token and what to put on one request.
    func attach(_ view: View, _ ask: Ask = Ask(), _ request: (method: String, url: String), inQuery: Bool = false)
        async throws -> Attached
    {
        // The token may be withdrawn between the two steps: then there is another.
        for attempt in 0..<3 {
            let token: Token
            if attempt == 0, ask.call == nil, let lease = fresh(view) {
                token = lease
            } else {
                token = try await acquire(view, ask)
            }
            if let attached = try await attached(view, call: token.storage.call, request, inQuery: inQuery) {
                return attached
            }
        }
        let message = "the token was withdrawn three times while this request was prepared: send it again"
        throw RemintError("transport_failed", .transport, message, isRetryable: true)
    }

    /// Whether the core has to hear of an API's answer: of every refusal, of what proofs of possession need, and of the
    /// first answer after a refused token that is none.
    func matters(_ response: HTTPResponse, to want: Want) -> Bool {
        let isRefusal = response.status == 401
        return state.withLock { state in
            guard isRefusal else {
                let isFirst = state.refused.remove(want) != nil
                return isFirst || response.status == 403 || response.hasNonce
            }
            // Of those that are forgotten, the core hears a little later that all is well again.
            if state.refused.count > 10_000 { state.refused.removeAll() }
            state.refused.insert(want)
            return true
        }
    }

    /// The thumbprint of the certificate that requests go out with now.
    var certificate: String? { state.withLock { $0.certificate } }

    /// Goes on with another certificate or with other keys.
    func renew(certificate: String?, signingKey: SigningKey?, dpop: DPoPKey?) throws {
        let name = state.withLock { state in
            state.renewals += 1
            let name = DPoPKey.name(besides: [signingKey?.name] + state.keys.map(\.name), state.renewals)
            let keys = [signingKey.map(NamedKey.init), dpop.map { NamedKey($0, name) }].compactMap { $0 }
            state.keys = Array((keys + state.keys).prefix(8))
            return name
        }
        let renewed = Renewed(
            tlsId: certificate, signingKey: try signingKey.map { try text(of: $0.json) },
            dpop: try dpop.map { try text(of: $0.json(name)) })
        if let answer = handle(.renewed(renewed: renewed)) { throw unexpected(answer) }
        if let certificate { state.withLock { $0.certificate = certificate } }
    }

    func setOnRotated(_ onRotated: @escaping OnRotated, for subject: String?) {
        state.withLock { $0.onRotated[subject] = onRotated }
    }

    /// No new work. Returns when what was under way has ended.
    func close() async {
        handle(.close)
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                if !state.running.isEmpty { state.closing.append(continuation) }
                return state.running.isEmpty
            }
            if isIdle { continuation.resume() }
        }
        state.withLock { $0.hearing?.cancel() }
    }

    /// The error for an answer that the caller has no use for: the core's own, in all but impossible cases.
    func unexpected(_ answer: Answer?, _ cause: (any Error)? = nil) -> RemintError {
        guard case .fail(let failure) = answer else {
            return RemintError(
                "invalid_event", .usage, "the core gave an answer that does not fit the question: report it as a bug")
        }
        let hint = (cause as? UnreadableFile)?.hint ?? (cause.map(isCertificateFailure) == true ? certificateHint : nil)
        return RemintError(failure, underlyingError: cause, hint: hint)
    }

    // MARK: One step

    /// Tells the core what happened, and does what follows.
    @discardableResult
    func handle(_ event: Event, for view: View? = nil) -> Answer? {
        // A test's own code: not under the lock, under which the machine's clocks can't seem to go back.
        let given = host.clock.test?.now()
        let entropy = host.random?(32) ?? drawn()
        let (answer, consequences) = state.withLock { state in
            let now = given ?? host.clock.now()
            let step = core.handle(event: event, now: now, entropy: entropy)
            let consequences = follow(step, view, &state)
            // After all that is withdrawn, in the same step: no other may come between.
            if let view, case .use(let lease) = step.answer { keep(lease, for: view, now, &state) }
            return (step.answer, consequences)
        }
        for operation in consequences.operations { start(operation) }
        for flight in consequences.settled {
            flight.sleep?.cancel()
            for alarm in flight.alarms.values { alarm.cancel() }
            for waiter in flight.waiters.values { waiter.continuation.resume() }
        }
        for notice in consequences.notices { host.onNotice?(Notice(notice)) }
        return answer
    }

    private func follow(_ step: Step, _ view: View?, _ state: inout State) -> Consequences {
        var consequences = Consequences(notices: step.notices)
        // Known before anything else happens: a flight may be over in the very step that began it.
        if case .wait(let id, _) = step.answer {
            var flight = state.flights[id] ?? Flight()
            flight.key = flight.key ?? leaseLock.withLock { view?.key }
            state.flights[id] = flight
        }
        for operation in step.operations {
            if let op = operation.op { state.running.insert(op) }
            var flight = state.flights[operation.flight] ?? Flight()
            if case .use(let lease) = step.answer { flight.key = lease.key }
            state.flights[operation.flight] = flight
            consequences.operations.append(operation)
        }
        for withdrawn in step.withdraw {
            let keys = withdrawn.key.map { [$0] } ?? Array(state.leases.keys)
            for key in keys where (state.leases[key]?.generation ?? .max) <= withdrawn.generation ?? .max {
                drop(key, &state)
            }
        }
        for id in step.settled {
            guard let flight = state.flights.removeValue(forKey: id) else { continue }
            // A lease that was given during the flight knows nothing of how it ended: the next caller asks.
            if let key = flight.key { drop(key, &state) }
            consequences.settled.append(flight)
        }
        return consequences
    }

    /// Keeps a lease where it may be used again.
    private func keep(_ lease: RemintCore.Lease, for view: View, _ now: Now, _ state: inout State) {
        let held = state.leases[lease.key]
        var kept = held
        if held?.generation != lease.generation {
            if now.boot < lease.recheck, now.wall < lease.recheckWall {
                drop(lease.key, &state)
                // Whoever holds more tokens than this asks the core for the others.
                if state.leases.count >= 10_000, let key = state.leases.first?.key { drop(key, &state) }
                kept = Lease(lease, clock: host.clock)
                state.leases[lease.key] = kept
            } else {
                kept = nil
            }
        }
        leaseLock.withLock {
            if let held, held === kept {
                held.recheck = lease.recheck
                held.recheckWall = lease.recheckWall
                held.seen = .min
            }
            view.lease = kept
            view.key = lease.key
        }
    }

    private func drop(_ key: String, _ state: inout State) {
        guard let lease = state.leases.removeValue(forKey: key) else { return }
        leaseLock.withLock { lease.end() }
    }

    /// 32 bytes of the system's own randomness.
    private func drawn() -> Data {
        var generator = SystemRandomNumberGenerator()
        var bytes = Data(capacity: 32)
        for _ in 0..<4 {
            withUnsafeBytes(of: generator.next()) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    // MARK: Waiting

    /// Returns when the flight is over or the time has come; throws when the caller is cancelled, which ends nobody
    /// else's waiting.
    private func settled(_ id: String, until: Int64) async throws {
        let waiter = state.withLock { state in
            state.waiters &+= 1
            return state.waiters
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let isOver = state.withLock { state in
                    guard state.flights[id] != nil else { return true }
                    state.flights[id]?.waiters[waiter] = (continuation, until)
                    if state.flights[id]?.alarms[until] == nil {
                        state.flights[id]?.alarms[until] = alarm(id, until)
                    }
                    return false
                }
                if isOver { continuation.resume() }
                // The handler below may have run before the waiter was there.
                if Task.isCancelled { leave(id, waiter) }
            }
        } onCancel: {
            leave(id, waiter)
        }
    }

    private func leave(_ flight: String, _ waiter: UInt64) {
        let left = state.withLock { $0.flights[flight]?.waiters.removeValue(forKey: waiter) }
        left?.continuation.resume(throwing: CancellationError())
    }

    /// Wakes those who wait for a flight until that time. It belongs to no caller, any of whom may be cancelled; it
    /// ends with the flight.
    private func alarm(_ id: String, _ until: Int64) -> Task<Void, Never> {
        Task { [clock = host.clock, weak self] in
            await clock.sleep(until: until)
            guard !Task.isCancelled else { return }
            let woken = self?.state.withLock { state in
                state.flights[id]?.alarms[until] = nil
                let late = state.flights[id]?.waiters.filter { $0.value.until <= until } ?? [:]
                for waiter in late.keys { state.flights[id]?.waiters[waiter] = nil }
                return late
            }
            for waiter in (woken ?? [:]).values { waiter.continuation.resume() }
        }
    }

    // MARK: Operations

    /// Starts an operation in a task of its own: a flight belongs to no caller, so no caller's cancellation may reach
    /// it. It is bounded by its `until`.
    private func start(_ operation: RemintCore.Operation) {
        switch operation {
        case .sleep(let flight, let until):
            let sleep = Task { [clock = host.clock, weak self] in
                await clock.sleep(until: until)
                if !Task.isCancelled { self?.handle(.tick(flight: flight)) }
            }
            let isOver = state.withLock { state in
                state.flights[flight]?.sleep = sleep
                return state.flights[flight] == nil
            }
            if isOver { sleep.cancel() }
        case .send(let op, let flight, let request, let certificate, let until, let cap):
            run(op, flight, until, kindOf: failureKind) { [host] in
                var request = try request.forTransport(host.clock, until: until, cap: cap)
                request.certificateThumbprint = certificate
                let answer = try await host.http.send(request, like: nil)
                guard answer.body.count <= cap else { throw TransportFailure(.tooLarge) }
                let headers = answer.headers.map { Header(name: $0.name, value: Secret($0.value)) }
                return .received(
                    op: op, status: Int32(clamping: answer.status), headers: headers, body: SecretBytes(answer.body))
            }
        case .provide(let op, let flight, .rotated(let subject, let refreshToken), let until):
            let onRotated = state.withLock { $0.onRotated[subject] }
            run(op, flight, until) {
                try await onRotated?(refreshToken.expose())
                return .provided(op: op, value: nil)
            }
        case .provide(let op, let flight, let what, let until):
            run(op, flight, until) { [host] in
                guard let value = try await host.providers.provide(what) else {
                    throw RemintError.misuse("there is no function that provides this")
                }
                return .provided(op: op, value: value)
            }
        case .store(let op, let flight, let key, let command, let until):
            hear()
            run(op, flight, until, late: .stored(op: op, result: command.lost)) { [host, weak self] in
                guard let store = host.store else { throw RemintError.misuse("there is no `store` that could answer") }
                do {
                    let result = try await command.carryOut(in: store, key, boot: host.clock.boot)
                    return .stored(op: op, result: result)
                } catch {
                    host.onStoreError?(error)
                    self?.remember(error, flight)
                    return .stored(op: op, result: error is StoreDown ? .down : command.lost)
                }
            }
        case .sign(let op, let flight, let name, let algorithm, let input, let until):
            let key = state.withLock { state in state.keys.first { $0.name == name } }
            run(op, flight, until) {
                guard let key else { throw RemintError.misuse("there is no key `\(name)` that could sign") }
                let signature = try await key.sign(Data(input.utf8), algorithm)
                return .signed(op: op, signature: signature.base64URL)
            }
        case .verify(let op, let flight, let key, let algorithm, let input, let signature, let until):
            run(op, flight, until) { [host] in
                guard let verify = host.verifier else {
                    throw RemintError.misuse("there is no `verifier` that could check a signature of the server's")
                }
                guard let signature = Data(base64URL: signature) else { return .verified(op: op, valid: false) }
                let signed = ServerSignature(
                    algorithm: algorithm, jwk: key, input: Data(input.expose().utf8), signature: signature)
                return .verified(op: op, valid: try await verify(signed))
            }
        }
    }

    /// Carries out one operation and reports how it ended: in time, or late.
    private func run(
        _ op: String, _ flight: String, _ until: Int64, late: Event? = nil,
        kindOf: @escaping @Sendable (any Error) -> FailureKind = { _ in .hostError },
        _ work: @escaping @Sendable () async throws -> Event
    ) {
        Task {
            let isOver = Guarded(false)
            let working = Task { try await work() }
            let timer = Task {
                await host.clock.sleep(until: until)
                guard !Task.isCancelled, isOver.claim() else { return }
                working.cancel()
                handle(late ?? .failed(op: op, kind: .timeout))
                // Whatever is left of the work holds up nobody, `close` included.
                ended(op)
            }
            do {
                let event = try await working.value
                timer.cancel()
                _ = isOver.claim()
                // Late or not: there may be a new refresh token in it.
                if case .fail = handle(event) { handle(.failed(op: op, kind: .hostError)) }
            } catch {
                timer.cancel()
                guard isOver.claim() else { return }
                remember(error, flight)
                handle(.failed(op: op, kind: kindOf(error)))
            }
            ended(op)
        }
    }

    /// Has the store tell what other processes write, from the first use of it on, until this driver is closed or gone.
    private func hear() {
        guard let store = host.store else { return }
        state.withLock { state in
            guard state.hearing == nil else { return }
            state.hearing = Task { [clock = host.clock, onStoreError = host.onStoreError, weak self] in
                let changes = StoreChanges { [weak self] key in self?.handle(.changed(key: key)) }
                while !Task.isCancelled {
                    do { return try await store.subscribe(changes) } catch {
                        guard !Task.isCancelled else { return }
                        onStoreError?(error)
                    }
                    await clock.sleep(until: clock.boot().addingClamped(1_000))
                }
            }
        }
    }

    deinit {
        state.withLock { $0.hearing?.cancel() }
    }

    private func ended(_ op: String) {
        let closing = state.withLock { state in
            state.running.remove(op)
            guard state.running.isEmpty else { return [CheckedContinuation<Void, Never>]() }
            defer { state.closing = [] }
            return state.closing
        }
        for continuation in closing { continuation.resume() }
    }

    private func remember(_ error: any Error, _ flight: String) {
        state.withLock { state in
            if state.causes.count >= 64 { state.causes.removeFirst() }
            state.causes.append((flight, error))
        }
    }
}

/// How a caller wants a token, in the core's own terms.
struct Ask {
    var minTTL: Int64 = 0
    var force = false
    var deadline: Int64?
    /// The call that is repeated, if it is a repetition.
    var call: String?
}

/// A flight that somebody waits for.
struct Flown {
    let id: String
    let until: Int64
}

/// What goes on one API request.
struct Attached {
    let call: String
    let url: Secret?
    let headers: [HTTPHeader]
}

extension Guarded<Bool> {
    /// Whether this is the first time that somebody asks.
    fileprivate func claim() -> Bool {
        withLock { isClaimed in
            defer { isClaimed = true }
            return !isClaimed
        }
    }
}

extension Data {
    /// Without padding (RFC 7515 section 2).
    var base64URL: String {
        let digits = base64EncodedData().lazy.filter { $0 != UInt8(ascii: "=") }.map { digit in
            switch digit {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            default: digit
            }
        }
        return String(decoding: Array(digits), as: UTF8.self)
    }

    /// The bytes of such a text; nil if it is none.
    init?(base64URL text: String) {
        guard !text.contains(where: { "+/=".contains($0) }) else { return nil }
        let padded = text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        self.init(
            base64Encoded: String(padded.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 }))
    }
}

extension Header {
    var line: HTTPHeader { (name, value.expose()) }
}

extension RemintCore.Operation {
    fileprivate var flight: String {
        switch self {
        case .send(_, let flight, _, _, _, _), .sign(_, let flight, _, _, _, _), .provide(_, let flight, _, _),
            .verify(_, let flight, _, _, _, _, _), .sleep(let flight, _),
            .store(_, let flight, _, _, _):
            flight
        }
    }

    /// What its end is reported by. A pause has none.
    fileprivate var op: String? {
        switch self {
        case .send(let op, _, _, _, _, _), .sign(let op, _, _, _, _, _), .provide(let op, _, _, _),
            .verify(let op, _, _, _, _, _, _),
            .store(let op, _, _, _, _):
            op
        case .sleep: nil
        }
    }
}

extension HttpRequest {
    fileprivate func forTransport(_ clock: SystemOrTestClock, until: Int64, cap: Int64) throws -> HTTPRequest {
        guard let url = URL(string: url.expose()) else {
            throw RemintError.misuse("the token endpoint's URL is none that Foundation accepts")
        }
        return HTTPRequest(
            method: method, url: url, headers: headers.map(\.line), body: body.map { Data($0.expose().utf8) },
            timeout: .milliseconds(max(1, until.addingClamped(-clock.boot()))), cap: Int(clamping: cap))
    }
}
