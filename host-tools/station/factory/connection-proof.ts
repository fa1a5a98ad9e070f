/** How a station learns that a board has connected with its new identity and published. */

export interface ConnectionSeen {
  /** What the board published to. */
  readonly topic: string;
}

export interface ConnectionProof {
  /** How the ledger names it: `broker` when a connection was seen, `challenge` when only the board's signature was. */
  readonly kind: "broker" | "challenge";
  /**
   * Resolves once the board was seen; also when that was before the call.
   * @param serial of the certificate that the connection must show
   * @throws HawserError `BOARD_NOT_SEEN` after `waitMs`, or what `signal` is aborted with
   */
  seen(id: string, serial: string, waitMs: number, signal: AbortSignal): Promise<ConnectionSeen>;
}

/** For benches without a network: the signed challenge of the read-back is all the proof there is, and the ledger says so. */
export const challengeOnly: ConnectionProof = { kind: "challenge", seen: () => Promise.resolve({ topic: "" }) };
