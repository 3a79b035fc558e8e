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
 * agent says that somebody else has it, this process gets SIGTERM; when nothing is left, SIGKILL, and as process 1 of a
 * container, which the kernel spares, it leaves by itself. The clock is CLOCK_BOOTTIME: a process that was stopped finds its
 * lease over when it wakes.
 *
 * The lock belongs to the process that took it: a child (fork, vfork, clone) does not hold it and cannot give it back, and
 * it does not outlive an exec. As in the kernel, one taken by flock or F_OFD_* is of the open file, so that every dup of the
 * descriptor stands for it, and one taken by F_SETLK or lockf of the process, so that every descriptor of the file does.
 * It goes with LOCK_UN, with close() of the descriptor (of the last dup), and with the process. A descriptor that was closed
 * in a way that is not seen here (fclose, dup2, close_range) is noticed within a quarter of the lease.
 *
 * A path is compared when a lock is asked for, not when the program starts: by device and inode, and by what the path, or
 * its folder, leads to then and led to at the start. A call that waits ends with EINTR as the kernel's does: when a signal
 * is handled whose handler was installed without SA_RESTART.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent_call.h"

#if __SIZEOF_POINTER__ != 8
#error "struct flock and struct flock64 are taken to be the same, which holds where pointers have 64 bits"
#endif

#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY (1024 + 3) /* Linux 6.10; EINVAL before */
#endif

enum { kPathsMax = 16, kNameBytesMax = 64, kLeaseMsMin = 400, kLeaseMsMax = 60000 };

typedef struct {
  char path[PATH_MAX];           /* as it is listed */
  char at_start[PATH_MAX];       /* what that led to when the program started; empty = nowhere yet */
  char name[kNameBytesMax + 1];  /* of the election; empty = it cannot be taken */
  int by_process;                /* taken by F_SETLK or lockf */
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
static char holder[kNameBytesMax + 1];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards locks[] */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int renewing; /* the thread runs; guarded by the mutex */
static pid_t owner;  /* the process that all of this is about; a child of vfork or clone has this memory and is another one */
static int (*real_flock)(int, int);
static int (*real_fcntl)(int, int, ...);
static int (*real_lockf)(int, int, off_t);

static void pause_ms(int64_t ms) { poll(NULL, 0, (int)ms); }
static int is_owner(void) { return getpid() == owner; }

/* ---- one request to the agent -------------------------------------------------------------------------------------------- */

/* campaign, renew or resign. On kWon `epoch` and `valid_until_ms` of `lock` are new. */
static Outcome order(Lock* lock, const char* what, int64_t timeout_ms) {
  char request[1024], body[256], answer[kAnswerBytesMax + 1], segment[3 * kNameBytesMax + 1];
  encode(lock->name, segment);
  int length = snprintf(body, sizeof body, "{\"holder\":\"%s\",\"lease_ms\":%lld", holder, (long long)lease_ms);
  if (strcmp(what, "campaign") != 0)
    length += snprintf(body + length, sizeof body - (size_t)length, ",\"epoch\":%llu", (unsigned long long)lock->epoch);
  length += snprintf(body + length, sizeof body - (size_t)length, "}");
  const int size = snprintf(request, sizeof request,
                            "PUT /outrigger/v1/election/%s/%s HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n"
                            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                            segment, what, length, body);
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

/* SIGTERM to a process whose lock is lost, SIGKILL at the end of the lease. The mutex is held. */
static void end_what_is_lost(void) {
  const int64_t now = boottime_ms();
  for (int i = 0; i < lock_count; ++i) {
    Lock* lock = &locks[i];
    if (lock->fd < 0) continue;
    if (!lock->asked && (lock->lost || now >= lock->valid_until_ms - lease_ms / 4)) {
      lock->asked = 1;
      say("outrigger_flock: the lock %s is lost; ending this process", lock->name);
      kill(owner, SIGTERM);
    }
    if (now < lock->valid_until_ms) continue;
    kill(owner, SIGKILL);
    _exit(128 + SIGKILL); /* process 1 of a container cannot be killed from within, and leaves all the same */
  }
}

/* renew or resign while the mutex is held: short, since all other locks wait meanwhile, and never past the end of one of them. */
static Outcome order_among_others(Lock* lock, const char* what) {
  int64_t timeout_ms = lease_ms / 8;
  const int64_t now = boottime_ms();
  for (int i = 0; i < lock_count; ++i)
    if (locks[i].fd >= 0 && locks[i].valid_until_ms - now < timeout_ms) timeout_ms = locks[i].valid_until_ms - now;
  const Outcome outcome = timeout_ms > 0 ? order(lock, what, timeout_ms) : kUnknown;
  if (outcome == kHeld || outcome == kRefused) lock->lost = 1;
  end_what_is_lost();
  return outcome;
}

static void let_go(Lock* lock) {
  if (lock->fd < 0) return;
  lock->fd = -1;
  (void)order_among_others(lock, "resign"); /* unheard, the lease ends by itself */
}

static void look_after(Lock* lock) {
  if (lock->fd < 0) return;
  if (!still_open(lock)) {
    let_go(lock);
    return;
  }
  const int64_t now = boottime_ms();
  if (!lock->asked && now >= lock->renew_at_ms && now < lock->valid_until_ms)
    lock->renew_at_ms = order_among_others(lock, "renew") == kWon ? boottime_ms() + lease_ms / 4 : boottime_ms() + 50;
}

static void* renew_all(void* nothing) {
  (void)nothing;
  for (;;) {
    pthread_mutex_lock(&mutex);
    int held = 0;
    end_what_is_lost();
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

/* Signals are for the program's own threads. @return false when there is none to be had. */
static int run_thread(pthread_t* thread, void* (*body)(void*), void* argument) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int made = pthread_create(thread, NULL, body, argument) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return made;
}

/* The mutex is held. */
static int start_renewing(void) {
  pthread_t thread;
  if (renewing) return 1;
  renewing = run_thread(&thread, renew_all, NULL);
  if (renewing) pthread_detach(thread);
  return renewing;
}

/* ---- settings ------------------------------------------------------------------------------------------------------------ */

/* Where a path leads now; for a file that is not there, where its folder does and its own name. @return false: nowhere. */
static int resolve(const char* path, char* out) {
  char folder[PATH_MAX];
  if (realpath(path, out) != NULL) return 1;
  strcpy(folder, path);
  char* slash = strrchr(folder, '/');
  slash[slash == folder ? 1 : 0] = '\0';
  if (realpath(folder, out) == NULL) return 0;
  const size_t used = strcmp(out, "/") == 0 ? 0 : strlen(out);
  const char* last = strrchr(path, '/');
  if (used + strlen(last) >= PATH_MAX) return 0;
  strcpy(out + used, last);
  return 1;
}

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
  for (char* at = made; name == NULL && *at != '\0'; ++at) {
    const int plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || *at == '.' || *at == '_';
    if (!plain) *at = '-';
  }
  if (made[0] == '\0' || strlen(made) > kNameBytesMax) {
    say("outrigger_flock: the lock of %s needs a name of 1 to %d bytes: write %s=NAME. Until then it cannot be taken", entry,
        kNameBytesMax, entry);
    made[0] = '\0'; /* known and refused: it must not be the kernel's by accident */
  }
  memcpy(lock->name, made, strlen(made) + 1);
  strcpy(lock->path, entry);
  if (!resolve(entry, lock->at_start)) lock->at_start[0] = '\0';
  lock->fd = -1;
  ++lock_count;
}

static void name_holder(void) {
  char host[40] = "host";
  gethostname(host, sizeof host - 1);
  for (char* at = host; *at != '\0'; ++at)
    if (*at == '"' || *at == '\\' || *at <= ' ') *at = '-';
  unsigned chance = 0; /* two containers may well have one host name and one process id */
  if (getrandom(&chance, sizeof chance, 0) != sizeof chance) chance = (unsigned)boottime_ms();
  snprintf(holder, sizeof holder, "%s-%d-%08x", host, (int)getpid(), chance);
}

/* A child holds nothing and renews nothing. */
static void after_fork(void) {
  pthread_mutex_init(&mutex, NULL);
  for (int i = 0; i < lock_count; ++i) locks[i].fd = -1;
  renewing = 0;
  owner = getpid();
  name_holder();
}

static void start(void) {
  owner = getpid();
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

/* Not when the first call comes: that may be one of a child of vfork, in this very memory. */
__attribute__((constructor)) static void begin(void) { pthread_once(&once, start); }

/* @param path  of the open file, as the kernel has it; empty when it does not tell */
static int is_listed(const Lock* lock, const struct stat* file, const char* path) {
  struct stat listed;
  char leads_to[PATH_MAX];
  if (strcmp(path, lock->path) == 0 || (path[0] != '\0' && strcmp(path, lock->at_start) == 0)) return 1;
  if (stat(lock->path, &listed) == 0 && listed.st_dev == file->st_dev && listed.st_ino == file->st_ino) return 1;
  return path[0] != '\0' && resolve(lock->path, leads_to) && strcmp(path, leads_to) == 0;
}

/* The listed lock that this descriptor's file stands for; NULL = the kernel's. */
static Lock* lock_of(int fd) {
  pthread_once(&once, start);
  struct stat file;
  if (lock_count == 0 || fstat(fd, &file) != 0) return NULL;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  path[size > 0 ? size : 0] = '\0';
  char* gone = strstr(path, " (deleted)"); /* removed under a holder: for the cluster it is the same lock still */
  if (gone != NULL && gone[strlen(" (deleted)")] == '\0') *gone = '\0';
  for (int i = 0; i < lock_count; ++i)
    if (is_listed(&locks[i], &file, path)) return &locks[i];
  return NULL;
}

/* Whether two descriptors are of one open file. @return 1, 0, or -1 where the kernel does not tell (before 6.10 without kcmp) */
static int one_open_file(int left, int right) {
  const int same = real_fcntl(left, F_DUPFD_QUERY, right);
  if (same >= 0) return same;
  const long order_of_them = syscall(SYS_kcmp, owner, owner, 0 /* KCMP_FILE */, left, right);
  return order_of_them < 0 ? -1 : order_of_them == 0;
}

/* Whether `fd` may speak for a lock that is held. The mutex is held. @return as one_open_file */
static int stands_for(const Lock* lock, int fd, int by_process) {
  if (fd == lock->fd || (by_process && lock->by_process)) return 1;
  return one_open_file(fd, lock->fd);
}

/* Another descriptor of the open file that `lock` was taken by; -1 = none. One of which the kernel does not tell counts. */
static int other_descriptor(const Lock* lock) {
  DIR* folder = lock->by_process ? NULL : opendir("/proc/self/fd");
  int found = -1;
  for (const struct dirent* entry; found < 0 && folder != NULL && (entry = readdir(folder)) != NULL;) {
    struct stat file;
    const int fd = entry->d_name[0] == '.' ? -1 : atoi(entry->d_name);
    if (fd < 0 || fd == lock->fd || fstat(fd, &file) != 0) continue;
    if (file.st_dev == lock->device && file.st_ino == lock->inode && one_open_file(fd, lock->fd) != 0) found = fd;
  }
  if (folder != NULL) closedir(folder);
  return found;
}

static int refuse(const Lock* lock, const char* why) {
  say("outrigger_flock: %s: %s", lock->path, why);
  errno = ENOLCK;
  return -1;
}

/* One try. Other locks of this process are renewed while its request is under way. */
static Outcome try_take(Lock* lock, int fd, int by_process) {
  struct stat now;
  if (fstat(fd, &now) != 0) return kRefused;
  pthread_mutex_lock(&mutex);
  const int mine = lock->fd >= 0 && still_open(lock) && stands_for(lock, fd, by_process) == 1;
  const int is_free = lock->fd == -1;
  if (is_free) lock->fd = -2;
  pthread_mutex_unlock(&mutex);
  if (!is_free) return mine ? kWon : kHeld;
  Outcome outcome = order(lock, "campaign", 2000);
  pthread_mutex_lock(&mutex);
  lock->fd = -1;
  if (outcome == kWon) {
    lock->fd = fd;
    lock->by_process = by_process;
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

typedef struct {
  Lock* lock;
  int fd, by_process;
  int done;              /* an eventfd */
  _Atomic int cancelled;
  Outcome outcome;
} Waiting;

static void* wait_for_turn(void* argument) {
  Waiting* waiting = argument;
  int told = 0;
  do {
    waiting->outcome = try_take(waiting->lock, waiting->fd, waiting->by_process);
    if (waiting->outcome == kWon || waiting->outcome == kRefused) break;
    if (waiting->outcome == kUnknown && !told++) say("outrigger_flock: no answer that decides from the agent at %s; waiting", agent_text);
    pause_ms(lease_ms / 20 < 100 ? lease_ms / 20 : 100);
  } while (!waiting->cancelled);
  eventfd_write(waiting->done, 1);
  return NULL;
}

/* A thread asks, and the program's own stands in one call that the kernel restarts or ends for a signal as it does with flock. */
static int take_waiting(Lock* lock, int fd, int by_process) {
  Waiting* waiting = calloc(1, sizeof *waiting);
  pthread_t thread;
  if (waiting == NULL || (waiting->done = eventfd(0, EFD_CLOEXEC)) < 0) {
    free(waiting);
    return refuse(lock, "no memory, or no descriptor left to wait with");
  }
  waiting->lock = lock;
  waiting->fd = fd;
  waiting->by_process = by_process;
  if (!run_thread(&thread, wait_for_turn, waiting)) {
    real_close(waiting->done);
    free(waiting);
    return refuse(lock, "no thread to wait with");
  }
  uint64_t count;
  const int interrupted = read(waiting->done, &count, sizeof count) < 0;
  waiting->cancelled = interrupted;
  pthread_join(thread, NULL); /* a request under way is heard to its end, so that nothing is held by accident */
  const Outcome outcome = waiting->outcome;
  real_close(waiting->done);
  free(waiting);
  if (outcome == kWon) return 0;
  if (outcome == kRefused) return refuse(lock, "the agent refuses, or the descriptor is none any more");
  errno = EINTR;
  return -1;
}

/* @param busy  the errno of a lock that somebody else has */
static int take(Lock* lock, int fd, int by_process, int waits, int busy) {
  if (!is_owner()) return refuse(lock, "this process was made by vfork, clone or _Fork and holds nothing: lock in one made by fork or exec");
  if (lock->name[0] == '\0') return refuse(lock, "it has no name; see above");
  if (agent_address_size == 0) return refuse(lock, "OUTRIGGER_API is not usable; see above");
  if (waits) return take_waiting(lock, fd, by_process);
  const Outcome outcome = try_take(lock, fd, by_process);
  if (outcome == kWon) return 0;
  if (outcome == kRefused) return refuse(lock, "the agent refuses; see above");
  if (outcome == kHeld) {
    errno = busy;
    return -1;
  }
  say("outrigger_flock: no answer that decides from the agent at %s", agent_text);
  return refuse(lock, "not locked: is an agent running there, and does the cluster have a leader?");
}

/* As in the kernel: what this descriptor does not stand for stays as it is, and that is no failure. */
static int leave(Lock* lock, int fd, int by_process) {
  if (!is_owner()) return 0;
  pthread_mutex_lock(&mutex);
  const int its = lock->fd < 0 ? 0 : stands_for(lock, fd, by_process);
  if (its == 1) let_go(lock);
  pthread_mutex_unlock(&mutex);
  return its >= 0 ? 0 : refuse(lock, "this kernel does not tell whether it is the open file that was locked: unlock by the descriptor that locked");
}

/* The lock of flock is the open file's: it goes with the last descriptor of it. */
static void leave_at_close(Lock* lock, int fd) {
  pthread_mutex_lock(&mutex);
  const int other = lock->fd == fd ? other_descriptor(lock) : -1;
  if (other >= 0) lock->fd = other;
  else if (lock->fd == fd) let_go(lock);
  pthread_mutex_unlock(&mutex);
}

/* ---- what programs call -------------------------------------------------------------------------------------------------- */

/* The epoch of a lock that this process holds, to send along with what it does; 0 = it holds none. */
unsigned long long outrigger_flock_epoch(int fd);
unsigned long long outrigger_flock_epoch(int fd) {
  Lock* lock = lock_of(fd);
  if (lock == NULL) return 0;
  pthread_mutex_lock(&mutex);
  const unsigned long long epoch = is_owner() && lock->fd >= 0 && stands_for(lock, fd, 1) == 1 ? lock->epoch : 0;
  pthread_mutex_unlock(&mutex);
  return epoch;
}

int flock(int fd, int operation) {
  Lock* lock = lock_of(fd);
  if (lock == NULL) return real_flock(fd, operation);
  if ((operation & LOCK_UN) != 0) return leave(lock, fd, 0);
  if ((operation & LOCK_EX) == 0) return refuse(lock, "shared locks are not offered");
  return take(lock, fd, 0, (operation & LOCK_NB) == 0, EWOULDBLOCK);
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
  const int by_process = command == F_SETLK || command == F_SETLKW;
  if (wanted->l_type == F_UNLCK) return leave(lock, fd, by_process);
  if (wanted->l_type != F_WRLCK) return refuse(lock, "shared locks are not offered");
  if (wanted->l_whence == SEEK_END || from != 0 || wanted->l_len != 0) return refuse(lock, "only the whole file can be locked");
  return take(lock, fd, by_process, command == F_SETLKW || command == F_OFD_SETLKW, EAGAIN);
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
  if (command == F_ULOCK) return leave(lock, fd, 1);
  if (length != 0 || lseek(fd, 0, SEEK_CUR) != 0) return refuse(lock, "only the whole file can be locked, from its beginning");
  return take(lock, fd, 1, command == F_LOCK, EAGAIN);
}

int lockf(int fd, int command, off_t length) { return lock_by_lockf(fd, command, length); }
int lockf64(int fd, int command, off64_t length) { return lock_by_lockf(fd, command, (off_t)length); }

int close(int fd) {
  pthread_once(&once, start);
  for (int i = 0; i < lock_count; ++i)
    if (fd >= 0 && locks[i].fd == fd && is_owner()) leave_at_close(&locks[i], fd);
  return real_close(fd);
}

/* A process that ends leaves its locks at once; one that is killed leaves them to their leases. */
__attribute__((destructor)) static void finish(void) {
  if (lock_count == 0 || !is_owner()) return;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < lock_count; ++i) let_go(&locks[i]);
  pthread_mutex_unlock(&mutex);
}
