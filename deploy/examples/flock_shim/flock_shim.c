/* liboutrigger_flock.so: file locks of listed paths become locks of the cluster, without a change of the program.
 *
 *   LD_PRELOAD=.../liboutrigger_flock.so OUTRIGGER_FLOCK_PATHS=/srv/app/trading.lock=trading python3 main.py
 *
 * What it takes over: flock(LOCK_EX | LOCK_UN, with or without LOCK_NB), fcntl(F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW)
 * with F_WRLCK or F_UNLCK over the whole file, lockf(F_LOCK | F_TLOCK | F_ULOCK). Shared locks and parts of a listed file are
 * refused with ENOLCK and a sentence on stderr; files that are not listed are the kernel's as ever.
 *
 * A lock is an election of the local agent, held by a lease (PUT /outrigger/v1/election/NAME/campaign, renew, resign), the
 * same that "outrigger lock run NAME" uses, so both exclude each other. Held is held from the moment the request was
 * sent, for the length of the lease and not a moment longer. A thread renews every quarter. When a quarter is left, or the
 * agent says that somebody else has it, this process gets SIGTERM; when nothing is left, SIGKILL. The clock is
 * CLOCK_BOOTTIME: a process that was stopped finds its lease over when it wakes.
 *
 * The lock belongs to the process that took it: a forked child does not hold it, and it does not outlive an exec. It goes
 * with LOCK_UN, with close() of that descriptor, and with the process. A descriptor that was closed in a way that is not
 * seen here (fclose, dup2, close_range) is noticed within a quarter of the lease.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#if __SIZEOF_POINTER__ != 8
#error "struct flock and struct flock64 are taken to be the same, which holds where pointers have 64 bits"
#endif

enum { kPathsMax = 16, kNameBytesMax = 64, kAnswerBytesMax = 4096, kLeaseMsMin = 400, kLeaseMsMax = 60000 };

typedef struct {
  char path[PATH_MAX];           /* as realpath has it, or as it was listed while it does not exist */
  char name[kNameBytesMax + 1];  /* of the election */
  _Atomic int fd;                /* the descriptor that holds it; -1 = free, -2 = a request for it is under way */
  dev_t device;
  ino_t inode;                   /* what fd was when the lock was taken */
  uint64_t epoch;
  int64_t valid_until_ms, renew_at_ms;
  int lost;                      /* the agent said so, before the end of the lease */
  int asked;                     /* SIGTERM was sent */
} Lock;

typedef enum { kWon, kHeld, kRefused, kUnknown } Outcome;

static Lock locks[kPathsMax];
static int lock_count;
static int64_t lease_ms = 5000;
static struct sockaddr_storage agent_address;
static socklen_t agent_address_size;
static char holder[kNameBytesMax + 1], agent_text[128];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards locks[] */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int renewing; /* the thread runs; guarded by the mutex */
static int (*real_flock)(int, int);
static int (*real_fcntl)(int, int, ...);
static int (*real_lockf)(int, int, off_t);
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

static void pause_ms(int64_t ms) { poll(NULL, 0, (int)ms); }

/* ---- one request to the agent -------------------------------------------------------------------------------------------- */

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

/* campaign, renew or resign. On kWon `epoch` and `valid_until_ms` of `lock` are new. */
static Outcome order(Lock* lock, const char* what, int64_t timeout_ms) {
  char request[1024], body[256], answer[kAnswerBytesMax + 1];
  int length = snprintf(body, sizeof body, "{\"holder\":\"%s\",\"lease_ms\":%lld", holder, (long long)lease_ms);
  if (strcmp(what, "campaign") != 0)
    length += snprintf(body + length, sizeof body - (size_t)length, ",\"epoch\":%llu", (unsigned long long)lock->epoch);
  length += snprintf(body + length, sizeof body - (size_t)length, "}");
  const int size = snprintf(request, sizeof request,
                            "PUT /outrigger/v1/election/%s/%s HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n"
                            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                            lock->name, what, length, body);
  const int64_t sent = boottime_ms();
  int status = 0;
  if (call(request, (size_t)size, answer, sent + timeout_ms) < 0 || sscanf(answer, "HTTP/1.%*d %d", &status) != 1) return kUnknown;
  if (status == 409) return kHeld;
  if (status >= 500) return kUnknown;
  const char* end = strstr(answer, "\r\n\r\n");
  const char* epoch = end == NULL ? NULL : strstr(end, "\"epoch\":");
  if (status != 200 || epoch == NULL) {
    say("outrigger_flock: the agent refuses the lock %s with status %d", lock->name, status);
    return kRefused;
  }
  lock->epoch = strtoull(epoch + strlen("\"epoch\":"), NULL, 10);
  lock->valid_until_ms = sent + lease_ms;
  return boottime_ms() < lock->valid_until_ms ? kWon : kUnknown;
}

/* ---- renewing ------------------------------------------------------------------------------------------------------------ */

/* The program closed the descriptor behind our back: the kernel would have let the lock go as well. */
static int still_open(const Lock* lock) {
  struct stat now;
  return fstat(lock->fd, &now) == 0 && now.st_dev == lock->device && now.st_ino == lock->inode;
}

static void let_go(Lock* lock) {
  if (lock->fd < 0) return;
  lock->fd = -1;
  (void)order(lock, "resign", lease_ms / 8); /* short, since the renewing of others waits; unheard, the lease ends by itself */
}

static void look_after(Lock* lock) {
  if (lock->fd < 0) return;
  if (!still_open(lock)) {
    let_go(lock);
    return;
  }
  int64_t now = boottime_ms();
  if (!lock->asked && now >= lock->renew_at_ms && now < lock->valid_until_ms) {
    const Outcome outcome = order(lock, "renew", lease_ms / 8);
    now = boottime_ms();
    lock->renew_at_ms = now + (outcome == kWon ? lease_ms / 4 : 50);
    lock->lost = outcome == kHeld || outcome == kRefused;
  }
  if (!lock->asked && (lock->lost || now >= lock->valid_until_ms - lease_ms / 4)) {
    lock->asked = 1;
    say("outrigger_flock: the lock %s is lost; ending this process", lock->name);
    kill(getpid(), SIGTERM);
  }
  if (now >= lock->valid_until_ms) kill(getpid(), SIGKILL);
}

static void* renew_all(void* nothing) {
  (void)nothing;
  for (;;) {
    pthread_mutex_lock(&mutex);
    int held = 0;
    for (int i = 0; i < lock_count; ++i) {
      look_after(&locks[i]);
      held += locks[i].fd >= 0;
    }
    if (held == 0) renewing = 0;
    pthread_mutex_unlock(&mutex);
    if (held == 0) return NULL;
    pause_ms(10);
  }
}

/* The mutex is held. Signals are for the program's own threads. */
static int start_renewing(void) {
  pthread_t thread;
  pthread_attr_t attributes;
  sigset_t all, before;
  if (renewing) return 1;
  sigfillset(&all);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  renewing = pthread_create(&thread, &attributes, renew_all, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return renewing;
}

/* ---- settings ------------------------------------------------------------------------------------------------------------ */

/* "/srv/a.lock=name" or "/srv/a.lock", which is called flock-srv-a.lock. */
static void add_path(char* entry) {
  Lock* lock = &locks[lock_count];
  char* name = strchr(entry, '=');
  if (name != NULL) *name++ = '\0';
  if (entry[0] != '/' || strlen(entry) >= PATH_MAX || lock_count == kPathsMax) {
    say("outrigger_flock: %s is left to the kernel: OUTRIGGER_FLOCK_PATHS takes at most %d absolute paths", entry, kPathsMax);
    return;
  }
  char made[PATH_MAX + 8];
  snprintf(made, sizeof made, "%s%s", name != NULL ? "" : "flock", name != NULL ? name : entry);
  for (char* at = made; *at != '\0'; ++at) {
    const int plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || *at == '.' || *at == '_';
    if (!plain) *at = '-';
  }
  if (made[0] == '\0' || strlen(made) > kNameBytesMax) {
    say("outrigger_flock: the lock of %s needs a name of 1 to %d bytes: write %s=NAME. Until then it cannot be taken", entry,
        kNameBytesMax, entry);
    made[0] = '\0'; /* known and refused: it must not be the kernel's by accident */
  }
  memcpy(lock->name, made, strlen(made) + 1);
  if (realpath(entry, lock->path) == NULL) strcpy(lock->path, entry);
  lock->fd = -1;
  ++lock_count;
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

static void name_holder(void) {
  char host[40] = "host";
  gethostname(host, sizeof host - 1);
  for (char* at = host; *at != '\0'; ++at)
    if (*at == '"' || *at == '\\' || *at <= ' ') *at = '-';
  unsigned chance = 0; /* two containers may well have one host name and one process id */
  if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) != sizeof chance) chance = (unsigned)boottime_ms();
  snprintf(holder, sizeof holder, "%s-%d-%08x", host, (int)getpid(), chance);
}

/* A child holds nothing and renews nothing. */
static void after_fork(void) {
  pthread_mutex_init(&mutex, NULL);
  for (int i = 0; i < lock_count; ++i) locks[i].fd = -1;
  renewing = 0;
  name_holder();
}

static void start(void) {
  real_flock = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
  real_fcntl = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl");
  real_lockf = (int (*)(int, int, off_t))dlsym(RTLD_NEXT, "lockf");
  real_close = (int (*)(int))dlsym(RTLD_NEXT, "close");
  const char* paths = getenv("OUTRIGGER_FLOCK_PATHS");
  if (paths == NULL || paths[0] == '\0') return;
  char* list = strdup(paths);
  for (char *rest = list, *entry; list != NULL && (entry = strsep(&rest, ":")) != NULL;)
    if (entry[0] != '\0') add_path(entry);
  free(list);
  const char* api = getenv("OUTRIGGER_API");
  read_agent(api != NULL && api[0] != '\0' ? api : "127.0.0.1:8500");
  const char* lease = getenv("OUTRIGGER_FLOCK_LEASE_MS");
  if (lease != NULL && lease[0] != '\0') {
    const long value = strtol(lease, NULL, 10);
    if (value >= kLeaseMsMin && value <= kLeaseMsMax) lease_ms = value;
    else say("outrigger_flock: OUTRIGGER_FLOCK_LEASE_MS must be %d to %d; it is %lld", kLeaseMsMin, kLeaseMsMax, (long long)lease_ms);
  }
  name_holder();
  pthread_atfork(NULL, NULL, after_fork);
}

/* ---- taking and leaving -------------------------------------------------------------------------------------------------- */

/* The listed lock that this descriptor's file stands for; NULL = the kernel's. */
static Lock* lock_of(int fd) {
  pthread_once(&once, start);
  if (lock_count == 0) return NULL;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return NULL;
  path[size] = '\0';
  char* gone = strstr(path, " (deleted)"); /* removed under a holder: for the cluster it is the same lock still */
  if (gone != NULL && gone[strlen(" (deleted)")] == '\0') *gone = '\0';
  for (int i = 0; i < lock_count; ++i)
    if (strcmp(locks[i].path, path) == 0) return &locks[i];
  return NULL;
}

static int refuse(const Lock* lock, const char* why) {
  say("outrigger_flock: %s: %s", lock->path, why);
  errno = ENOLCK;
  return -1;
}

/* One try. Other locks of this process are renewed while its request is under way. */
static Outcome try_take(Lock* lock, int fd) {
  struct stat now;
  pthread_mutex_lock(&mutex);
  const int mine = lock->fd == fd && still_open(lock);
  const int is_free = lock->fd == -1 && fstat(fd, &now) == 0;
  if (is_free) lock->fd = -2;
  pthread_mutex_unlock(&mutex);
  if (!is_free) return mine ? kWon : kHeld;
  Outcome outcome = order(lock, "campaign", 2000);
  pthread_mutex_lock(&mutex);
  lock->fd = -1;
  if (outcome == kWon) {
    lock->fd = fd;
    lock->device = now.st_dev;
    lock->inode = now.st_ino;
    lock->renew_at_ms = boottime_ms() + lease_ms / 4;
    lock->lost = lock->asked = 0;
    if (!start_renewing()) {
      let_go(lock);
      outcome = kRefused;
    }
  }
  pthread_mutex_unlock(&mutex);
  return outcome;
}

/* @param busy  the errno of a lock that somebody else has */
static int take(Lock* lock, int fd, int waits, int busy) {
  if (lock->name[0] == '\0') return refuse(lock, "it has no name; see above");
  if (agent_address_size == 0) return refuse(lock, "OUTRIGGER_API is not usable; see above");
  for (int told = 0;; pause_ms(lease_ms / 20 < 100 ? lease_ms / 20 : 100)) {
    const Outcome outcome = try_take(lock, fd);
    if (outcome == kWon) return 0;
    if (outcome == kRefused) return refuse(lock, "the agent refuses; see above");
    if (outcome == kHeld && !waits) {
      errno = busy;
      return -1;
    }
    if (outcome == kUnknown && !waits) {
      say("outrigger_flock: no answer that decides from the agent at %s", agent_text);
      return refuse(lock, "not locked: is an agent running there, and does the cluster have a leader?");
    }
    if (outcome == kUnknown && !told++) say("outrigger_flock: no answer that decides from the agent at %s; waiting", agent_text);
  }
}

static int leave(Lock* lock, int fd) {
  pthread_mutex_lock(&mutex);
  if (lock->fd == fd) let_go(lock);
  pthread_mutex_unlock(&mutex);
  return 0;
}

/* ---- what programs call -------------------------------------------------------------------------------------------------- */

/* The epoch of a lock that this process holds, to send along with what it does; 0 = it holds none. */
unsigned long long outrigger_flock_epoch(int fd);
unsigned long long outrigger_flock_epoch(int fd) {
  Lock* lock = lock_of(fd);
  if (lock == NULL) return 0;
  pthread_mutex_lock(&mutex);
  const unsigned long long epoch = lock->fd == fd ? lock->epoch : 0;
  pthread_mutex_unlock(&mutex);
  return epoch;
}

int flock(int fd, int operation) {
  Lock* lock = lock_of(fd);
  if (lock == NULL) return real_flock(fd, operation);
  if ((operation & LOCK_UN) != 0) return leave(lock, fd);
  if ((operation & LOCK_EX) == 0) return refuse(lock, "shared locks are not offered");
  return take(lock, fd, (operation & LOCK_NB) == 0, EWOULDBLOCK);
}

static int is_lock_command(int command) {
  return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

static int lock_by_fcntl(int fd, int command, void* argument) {
  pthread_once(&once, start);
  Lock* lock = is_lock_command(command) && argument != NULL ? lock_of(fd) : NULL;
  if (lock == NULL) return real_fcntl(fd, command, argument);
  const struct flock* wanted = argument;
  const off_t from = wanted->l_start + (wanted->l_whence == SEEK_CUR ? lseek(fd, 0, SEEK_CUR) : 0);
  if (wanted->l_type == F_UNLCK) return leave(lock, fd);
  if (wanted->l_type != F_WRLCK) return refuse(lock, "shared locks are not offered");
  if (wanted->l_whence == SEEK_END || from != 0 || wanted->l_len != 0) return refuse(lock, "only the whole file can be locked");
  return take(lock, fd, command == F_SETLKW || command == F_OFD_SETLKW, EAGAIN);
}

int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return lock_by_fcntl(fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return lock_by_fcntl(fd, command, argument);
}

static int lock_by_lockf(int fd, int command, off_t length) {
  Lock* lock = command == F_TEST ? NULL : lock_of(fd);
  if (lock == NULL) {
    pthread_once(&once, start);
    return real_lockf(fd, command, length);
  }
  if (command == F_ULOCK) return leave(lock, fd);
  if (length != 0 || lseek(fd, 0, SEEK_CUR) != 0) return refuse(lock, "only the whole file can be locked, from its beginning");
  return take(lock, fd, command == F_LOCK, EAGAIN);
}

int lockf(int fd, int command, off_t length) { return lock_by_lockf(fd, command, length); }
int lockf64(int fd, int command, off64_t length) { return lock_by_lockf(fd, command, (off_t)length); }

int close(int fd) {
  pthread_once(&once, start);
  for (int i = 0; i < lock_count; ++i)
    if (fd >= 0 && locks[i].fd == fd) leave(&locks[i], fd);
  return real_close(fd);
}

/* A process that ends leaves its locks at once; one that is killed leaves them to their leases. */
__attribute__((destructor)) static void finish(void) {
  if (lock_count == 0) return;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < lock_count; ++i) let_go(&locks[i]);
  pthread_mutex_unlock(&mutex);
}
