/**
 * When the firmware was built, milliseconds since the Unix epoch. This module is preloaded: it runs once, on the machine that builds, and
 * its value goes into flash. (Not preloaded it would be the time at boot, which is no floor for anything: keep it in the manifest's
 * `preload`.)
 */
export const BUILD_TIME_MS = Date.now();
