/* A serial line for tests: makes a pseudo-terminal, prints the path of its port, then carries bytes between the port and its own standard input and output. It holds the
 * port open itself, as a USB adapter is there whether or not a program uses it. */
#define _XOPEN_SOURCE 600
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int carry(int from, int to)
{
  char bytes[4096];
  ssize_t count = read(from, bytes, sizeof bytes);
  for (ssize_t done = 0; done < count;) {
    ssize_t written = write(to, bytes + done, (size_t)(count - done));
    if (written <= 0) return 0;
    done += written;
  }
  return count > 0;
}

int main(void)
{
  int controller = posix_openpt(O_RDWR | O_NOCTTY);
  if (controller < 0 || grantpt(controller) != 0 || unlockpt(controller) != 0) return 1;
  int port = open(ptsname(controller), O_RDWR | O_NOCTTY);
  if (port < 0) return 1;
  fprintf(stderr, "%s\n", ptsname(controller));
  struct pollfd files[2] = { { STDIN_FILENO, POLLIN, 0 }, { controller, POLLIN, 0 } };
  while (poll(files, 2, -1) > 0) {
    if (files[0].revents && !carry(STDIN_FILENO, controller)) return 0;
    if (files[1].revents && !carry(controller, STDOUT_FILENO)) return 0;
  }
  return 0;
}
