/** The package's version, put in by build.mjs. */
declare const HAWSER_VERSION: string;
