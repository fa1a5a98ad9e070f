/*
 * Runs firmware that mcconfig built for Linux (an `mc.so`) without a display: where Moddable's simulator has a window, this has nothing.
 * Compiled against build/simulators/modules/screen.h of the Moddable SDK in $MODDABLE (see firmware/build/linux.mjs).
 *
 * linux-host MC_SO: ends on SIGTERM or SIGINT (0), or when the virtual machine aborts (70). Prints at the end how much native stack was used:
 * the part below main, where every callback and every handshake runs.
 */
#include <dlfcn.h>
#include <glib.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "screen.h"

#define PAINTED_SIZE (512 * 1024)
#define PAINT 0xA5

static GMainLoop *loop;
static int exit_code;

static void on_abort(txScreen *screen, int status)
{
    (void) screen;
    fprintf(stderr, "linux-host: the virtual machine aborted (%d)\n", status);
    exit_code = 70;
    g_main_loop_quit(loop);
}

static void ignore_screen(txScreen *screen)
{
    (void) screen;
}

static void ignore_post(txScreen *screen, char *message, int size)
{
    (void) screen;
    (void) message;
    (void) size;
}

static void ignore_start(txScreen *screen, double interval)
{
    (void) screen;
    (void) interval;
}

static gboolean on_signal(gpointer data)
{
    (void) data;
    g_main_loop_quit(loop);
    return G_SOURCE_CONTINUE;
}

/* Paints the stack below this function's caller. The frame is gone afterwards, the paint stays until something runs over it. */
static __attribute__((noinline)) unsigned char *paint_stack(void)
{
    unsigned char frame[PAINTED_SIZE];
    memset(frame, PAINT, sizeof frame);
    __asm__ volatile("" : : "r"(frame) : "memory");
    return (unsigned char *) __builtin_frame_address(0);
}

static __attribute__((noinline)) size_t used_stack(const unsigned char *top)
{
    const volatile unsigned char *at = top - PAINTED_SIZE + 1024;
    while (at < top && *at == PAINT) {
        at++;
    }
    return (size_t) (top - (const unsigned char *) at);
}

int main(int count, char **words)
{
    static txScreen screen;
    void *library = count == 2 ? dlopen(words[1], RTLD_NOW) : NULL;
    txScreenLaunchProc launch = library ? (txScreenLaunchProc) dlsym(library, "fxScreenLaunch") : NULL;
    if (!launch) {
        fprintf(stderr, "usage: linux-host MC_SO: %s\n", count == 2 ? dlerror() : "one argument");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* Moddable's sockets on Linux write to connections that are gone. */
    signal(SIGPIPE, SIG_IGN);
    loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGTERM, on_signal, NULL);
    g_unix_signal_add(SIGINT, on_signal, NULL);
    screen.abort = on_abort;
    screen.bufferChanged = ignore_screen;
    screen.formatChanged = ignore_screen;
    screen.post = ignore_post;
    screen.start = ignore_start;
    screen.stop = ignore_screen;
    g_mutex_init(&screen.workersMutex);
    const unsigned char *top = paint_stack();
    launch(&screen);
    if (exit_code == 0) {
        g_main_loop_run(loop);
    }
    printf("linux-host: native stack used: %zu bytes\n", used_stack(top));
    fflush(stdout);
    /* What the machine holds goes with the process. */
    _Exit(exit_code);
}
