/*
 * delay.c - a long wire: two network namespaces joined by two TUN devices, between which every packet takes its time.
 * There is no loss and no limit of rate; TCP's own segmentation is left to the far end (TSO), so that it costs little.
 *
 *   delay NAMESPACE-A NAMESPACE-B SECONDS       prints "ready" once both have a device `wire`; runs until it is killed
 *
 * The seconds are those of one way. Where the kernel has netem this would be a line of tc, but many have not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MAX_PACKET ((size_t)66000)
#define MAX_WAITING 16384 /* packets under way in one direction; more are lost, as on a full wire */

typedef struct packet {
    double due;
    size_t len;
    char *bytes;
} packet;

typedef struct direction {
    int from, to;
    packet waiting[MAX_WAITING];
    size_t first, n;
} direction;

static direction ways[2];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A device `wire` in that namespace, where it stays when we leave it. */
static int device(const char *space)
{
    struct ifreq request = {.ifr_name = "wire"};
    char path[128];
    int ns, fd;

    (void)snprintf(path, sizeof path, "/run/netns/%s", space);
    ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) != 0)
        die(path);
    (void)close(ns);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0 ||
        ioctl(fd, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4)) != 0)
        die("/dev/net/tun");
    return fd;
}

static void take(direction *d, double delay)
{
    static char block[MAX_PACKET];
    ssize_t n;

    while ((n = read(d->from, block, sizeof block)) > 0) {
        packet *p = &d->waiting[(d->first + d->n) % MAX_WAITING];
        if (d->n == MAX_WAITING)
            continue;
        p->bytes = malloc((size_t)n);
        if (p->bytes == NULL)
            die("malloc");
        memcpy(p->bytes, block, (size_t)n);
        p->len = (size_t)n;
        p->due = now() + delay;
        d->n++;
    }
}

/* Gives what has arrived; the seconds until the next one does, or -1. */
static double give(direction *d)
{
    for (; d->n > 0; d->n--, d->first = (d->first + 1) % MAX_WAITING) {
        packet *p = &d->waiting[d->first];
        double left = p->due - now();
        if (left > 0)
            return left;
        if (write(d->to, p->bytes, p->len) < 0 && errno != EIO && errno != ENOBUFS)
            die("write");
        free(p->bytes);
    }
    return -1;
}

int main(int argc, char *argv[])
{
    double delay = argc == 4 ? atof(argv[3]) : -1;

    if (delay < 0) {
        (void)fprintf(stderr, "delay NAMESPACE-A NAMESPACE-B SECONDS\n");
        return 2;
    }
    ways[0].from = ways[1].to = device(argv[1]);
    ways[1].from = ways[0].to = device(argv[2]);
    printf("ready\n");
    (void)fflush(stdout);
    for (;;) {
        struct pollfd fds[2] = {{.fd = ways[0].from, .events = POLLIN}, {.fd = ways[1].from, .events = POLLIN}};
        struct timespec wait = {.tv_sec = 3600};
        for (int i = 0; i < 2; i++) {
            double left = give(&ways[i]);
            if (left >= 0 && left < (double)wait.tv_sec + (double)wait.tv_nsec / 1e9) {
                wait.tv_sec = (time_t)left;
                wait.tv_nsec = (long)((left - (double)wait.tv_sec) * 1e9);
            }
        }
        if (ppoll(fds, 2, &wait, NULL) < 0 && errno != EINTR)
            die("ppoll");
        take(&ways[0], delay);
        take(&ways[1], delay);
    }
}
