import Foundation
internal import RemintCore

#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// For tests: two clocks, in milliseconds, and a timer.
public protocol TimeSource: Sendable {
    /// Milliseconds of Unix time.
    func wall() -> Int64

    /// Milliseconds from any fixed point, on a clock that never goes back.
    func boot() -> Int64

    /// Returns after that time on the clock ``boot()``, or earlier; throws when its task is cancelled.
    func sleep(milliseconds: Int64) async throws
}

extension TimeSource {
    func now() -> Now {
        Now(wall: wall(), boot: boot())
    }

    public func sleep(milliseconds: Int64) async throws {
        try await Task.sleep(for: .milliseconds(milliseconds), clock: .continuous)
    }
}

/// The clocks of this machine, or those of a test.
struct SystemOrTestClock: Sendable {
    let test: (any TimeSource)?

    func now() -> Now {
        test?.now() ?? Now(wall: SystemOrTestClock.systemWall(), boot: SystemOrTestClock.systemBoot())
    }

    func boot() -> Int64 {
        test?.boot() ?? SystemOrTestClock.systemBoot()
    }

    /// Unix time, in milliseconds.
    static func systemWall() -> Int64 {
        read(CLOCK_REALTIME)
    }

    /// A clock that never goes back and counts the time that the machine is suspended for, in milliseconds.
    static func systemBoot() -> Int64 {
        #if canImport(Darwin)
            // The one that `mach_continuous_time` reads; CLOCK_UPTIME_RAW stands still during sleep.
            Int64(clamping: clock_gettime_nsec_np(CLOCK_MONOTONIC_RAW) / 1_000_000)
        #else
            read(CLOCK_BOOTTIME)
        #endif
    }

    /// Returns when `until` is reached on the boot clock, or the task is cancelled.
    func sleep(until: Int64) async {
        while !Task.isCancelled {
            let left = until.subtractingReportingOverflow(boot())
            guard left.partialValue > 0 || left.overflow else { return }
            // No longer at once: a timer may not know of a suspension, and the boot clock does.
            let step = left.overflow ? SystemOrTestClock.longest : min(left.partialValue, SystemOrTestClock.longest)
            if let test {
                try? await test.sleep(milliseconds: step)
            } else {
                try? await Task.sleep(for: .milliseconds(step), clock: .continuous)
            }
        }
    }

    private static let longest: Int64 = 3_600_000

    @inline(__always)
    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

extension Duration {
    /// So many seconds, or the nearest that is sensible: from none to ten years.
    init(clamping seconds: Double) {
        self = .milliseconds(Int64(Swift.max(0, Swift.min(seconds.isNaN ? 0 : seconds, 315_360_000)) * 1000))
    }

    /// Whole milliseconds, rounded down, at most 2^53: beyond that no clock and no JSON number goes.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        let limit: Int64 = 1 << 53
        guard abs(clamping: seconds) < limit / 1000 else { return seconds < 0 ? -limit : limit }
        return seconds * 1000 + attoseconds / 1_000_000_000_000_000
    }

    /// Seconds, as JSON has them.
    var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}

private func abs(clamping number: Int64) -> Int64 {
    number == .min ? .max : Swift.abs(number)
}

extension Int64 {
    /// The sum, or the nearest number there is.
    func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }
}
