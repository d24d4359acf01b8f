package dev.remint.hosts;

import dev.remint.Transport;

/** What only Java can write: a transport that gives null. */
public final class NullTransport {
    /** It. */
    public static final Transport transport = request -> null;

    private NullTransport() {}
}
