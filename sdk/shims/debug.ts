/** `debug` that never says anything, for engines without Node. Bundled in its place for the device. */
export default function silent(): () => void {
  return () => undefined;
}
