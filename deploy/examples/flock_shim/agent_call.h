/* Where the local agent is, and one request to it. Part of flock_shim.c, which alone includes it. */
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { kAnswerBytesMax = 4096 };

static struct sockaddr_storage agent_address;
static socklen_t agent_address_size; /* 0 = OUTRIGGER_API is not usable */
static char agent_text[128];
static int (*real_close)(int);

static void say(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  const int size = vsnprintf(text, sizeof text - 1, format, arguments);
  va_end(arguments);
  if (size < 0) return;
  size_t length = (size_t)size < sizeof text - 1 ? (size_t)size : sizeof text - 2;
  text[length++] = '\n';
  const ssize_t written = write(STDERR_FILENO, text, length);
  (void)written; /* nobody to tell */
}

static int64_t boottime_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* "127.0.0.1:8500", "http://127.0.0.1:8500" or "unix:/run/outrigger.sock". */
static void read_agent(const char* text) {
  struct sockaddr_in* v4 = (struct sockaddr_in*)&agent_address;
  struct sockaddr_un* local = (struct sockaddr_un*)&agent_address;
  if (strncmp(text, "http://", 7) == 0) text += 7;
  snprintf(agent_text, sizeof agent_text, "%s", text);
  if (strncmp(text, "unix:", 5) == 0 && strlen(text + 5) < sizeof local->sun_path) {
    while (text[5] == '/' && text[6] == '/') ++text;
    local->sun_family = AF_UNIX;
    strcpy(local->sun_path, text + 5);
    agent_address_size = sizeof *local;
    return;
  }
  char host[64];
  int port = 0;
  if (sscanf(text, "%63[^:]:%d", host, &port) == 2 && port > 0 && port < 65536 &&
      inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    agent_address_size = sizeof *v4;
    return;
  }
  say("outrigger_flock: OUTRIGGER_API is \"%s\"; it must be IPV4:PORT or unix:/PATH. Listed locks cannot be taken", text);
}

/* Waits for the socket. @return false when `until` came first. */
static int ready(int socket_fd, short events, int64_t until) {
  for (;;) {
    const int64_t left = until - boottime_ms();
    struct pollfd one = {socket_fd, events, 0};
    const int count = left <= 0 ? 0 : poll(&one, 1, (int)left);
    if (count > 0) return 1;
    if (count == 0 || errno != EINTR) return 0;
  }
}

/* Sends `request` and reads until the agent closes. @return bytes of the answer, or -1. */
static ssize_t call(const char* request, size_t size, char* answer, int64_t until) {
  const int fd = socket(agent_address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  ssize_t got = -1;
  if (fd < 0) return -1;
  if (connect(fd, (struct sockaddr*)&agent_address, agent_address_size) != 0 && errno != EINPROGRESS && errno != EAGAIN) goto out;
  for (size_t sent = 0; sent < size;) {
    if (!ready(fd, POLLOUT, until)) goto out;
    const ssize_t count = send(fd, request + sent, size - sent, MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN && errno != EINTR) goto out;
    if (count > 0) sent += (size_t)count;
  }
  for (size_t used = 0; used < kAnswerBytesMax;) {
    if (!ready(fd, POLLIN, until)) goto out;
    const ssize_t count = recv(fd, answer + used, kAnswerBytesMax - used, 0);
    if (count < 0 && errno != EAGAIN && errno != EINTR) goto out;
    if (count == 0) {
      answer[used] = '\0';
      got = (ssize_t)used;
      goto out;
    }
    if (count > 0) used += (size_t)count;
  }
out:
  real_close(fd);
  return got;
}

/* A name as one segment of a path: `out` has room for three times its bytes. */
static void encode(const char* name, char* out) {
  for (; *name != '\0'; ++name) {
    const int plain = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9') || strchr("-._~", *name) != NULL;
    out += plain ? sprintf(out, "%c", *name) : sprintf(out, "%%%02X", (unsigned char)*name);
  }
  *out = '\0';
}
