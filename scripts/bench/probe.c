// What the benchmarks must time without an interpreter in between: the agent under test, and
// whoever starts it or signals it. Times are CLOCK_MONOTONIC, which all processes share.
//
//   probe stamp                  the agent whose start is timed: writes the time to its output
//   probe start -- ARGV...       runs ARGV; prints microseconds from exec to the stamp (0 when
//                                there is none), to the end, and of processor time
//   probe hear SIGNAL FIFO       the agent that is signalled: writes the time of each to FIFO
//   probe send PID SIGNAL FIFO N signals PID N times; prints microseconds until each was heard
//   probe end FILE               the agent that makes FILE and ends when it is told to: with 7 by
//                                TERM or INT, with 8 by USR1
//   probe work                   the agent with a job that only KILL ends

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void must(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

static void tell(int fd, int64_t time)
{
    must(write(fd, &time, sizeof time) == sizeof time, "write");
}

static int64_t told(int fd)
{
    int64_t time = 0;
    return read(fd, &time, sizeof time) == sizeof time ? time : 0;
}

static int64_t processor_ns(const struct rusage *used)
{
    const struct timeval *user = &used->ru_utime, *kernel = &used->ru_stime;
    return (user->tv_sec + kernel->tv_sec) * 1000000000LL
        + (user->tv_usec + kernel->tv_usec) * 1000LL;
}

static int start(char **argv)
{
    // The same pipe takes the time before exec and then, from the agent, the stamp.
    int times[2], status;
    struct rusage used;
    must(pipe(times) == 0, "pipe");
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        int nowhere = open("/dev/null", O_RDWR);
        dup2(nowhere, 0);
        dup2(times[1], 1);
        dup2(nowhere, 2);
        close(times[0]);
        close(times[1]);
        close(nowhere);
        tell(1, now());
        execv(argv[0], argv);
        _exit(127);
    }
    close(times[1]);
    must(wait4(pid, &status, 0, &used) == pid, "wait4");
    int64_t ended = now(), began = told(times[0]), stamp = told(times[0]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "%s failed: wait status %#x\n", argv[0], status);
        return 1;
    }
    printf("%.1f %.1f %.1f\n", stamp ? (stamp - began) / 1e3 : 0.0, (ended - began) / 1e3,
           processor_ns(&used) / 1e3);
    return 0;
}

static int hear(int wanted, const char *fifo)
{
    sigset_t set;
    int signal, out = open(fifo, O_WRONLY);
    must(out >= 0, fifo);
    sigemptyset(&set);
    sigaddset(&set, wanted);
    sigaddset(&set, SIGTERM);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0, "sigprocmask");
    // Now it can be signalled.
    tell(out, now());
    for (;;) {
        must(sigwait(&set, &signal) == 0, "sigwait");
        int64_t heard = now();
        if (signal == wanted)
            tell(out, heard);
        if (signal != SIGUSR1)
            return 0;
    }
}

static int send_signals(pid_t pid, int signal, const char *fifo, int times)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    int in = open(fifo, O_RDONLY);
    must(in >= 0, fifo);
    must(told(in) != 0, "the agent's start");
    // Whoever started the agent has things to do after that too.
    const struct timespec settle = {.tv_nsec = 50000000};
    nanosleep(&settle, NULL);
    for (int i = 0; i < times; i++) {
        nanosleep(&pause, NULL);
        int64_t sent = now();
        must(kill(pid, signal) == 0, "kill");
        int64_t heard = told(in);
        must(heard != 0, "the agent ended");
        printf("%.1f\n", (heard - sent) / 1e3);
    }
    return 0;
}

static int end(const char *up)
{
    sigset_t set;
    int signal;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0, "sigprocmask");
    must(creat(up, 0600) >= 0, up);
    must(sigwait(&set, &signal) == 0, "sigwait");
    return signal == SIGUSR1 ? 8 : 7;
}

_Noreturn static void work(void)
{
    sigset_t all;
    sigfillset(&all);
    must(sigprocmask(SIG_BLOCK, &all, NULL) == 0, "sigprocmask");
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "stamp") == 0)
        return tell(1, now()), 0;
    if (strcmp(what, "start") == 0 && argc > 3)
        return start(argv + 3);
    if (strcmp(what, "hear") == 0 && argc == 4)
        return hear(atoi(argv[2]), argv[3]);
    if (strcmp(what, "send") == 0 && argc == 6)
        return send_signals(atoi(argv[2]), atoi(argv[3]), argv[4], atoi(argv[5]));
    if (strcmp(what, "end") == 0 && argc == 3)
        return end(argv[2]);
    if (strcmp(what, "work") == 0)
        work();
    fprintf(stderr, "probe: see the head of probe.c\n");
    return 2;
}
