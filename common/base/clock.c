#include "base/clock.h"

#include <errno.h>
#include <time.h>

#include "base/blocking.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY (INT64_C(86400) * US_PER_SECOND)

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

int64_t clock_unix_us(void)
{
    return read_us(CLOCK_REALTIME);
}

void clock_sleep_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
    blocking_begin();
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

int32_t clock_day(int64_t unix_us)
{
    int64_t day = unix_us / US_PER_DAY;
    return (int32_t)(unix_us % US_PER_DAY < 0 ? day - 1 : day);
}

/* Writes value in decimal with at least width digits, and returns where it ends. */
static char *put_number(char *to, uint64_t value, int width)
{
    char digits[20];
    int count = 0;
    while (value > 0 || count < width) {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    }
    while (count > 0)
        *to++ = digits[--count];
    return to;
}

size_t clock_format_time(int64_t unix_us, char buffer[static CLOCK_TIME_SIZE])
{
    static const struct {
        char before;
        uint8_t width;
        uint16_t modulus;
        int32_t unit_ms;
    } PARTS[] = {{'T', 2, 24, 3600000}, {':', 2, 60, 60000}, {':', 2, 60, 1000}, {'.', 3, 1000, 1}};
    int32_t day = clock_day(unix_us);
    /* By remainder: the start of the first day there is would be out of range. */
    int64_t rest_us = unix_us % US_PER_DAY;
    int64_t rest_ms = (rest_us < 0 ? rest_us + US_PER_DAY : rest_us) / 1000;
    char *p = buffer + clock_format_date(day, buffer);
    for (size_t i = 0; i < sizeof(PARTS) / sizeof(PARTS[0]); i++) {
        *p++ = PARTS[i].before;
        p = put_number(p, (uint64_t)(rest_ms / PARTS[i].unit_ms % PARTS[i].modulus),
                       PARTS[i].width);
    }
    *p++ = 'Z';
    *p = '\0';
    return (size_t)(p - buffer);
}

/* Days since 1970-01-01 of a proleptic Gregorian date, counted in 400-year eras from 1 March. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

size_t clock_format_date(int32_t days, char buffer[static CLOCK_DATE_SIZE])
{
    int64_t shifted = (int64_t)days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    int day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    int month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    int64_t year = year_of_era + era * 400 + (month <= 2);
    char *p = buffer;
    if (year < 0)
        *p++ = '-';
    p = put_number(p, (uint64_t)(year < 0 ? -year : year), year < 0 ? 3 : 4);
    *p++ = '-';
    p = put_number(p, (uint64_t)month, 2);
    *p++ = '-';
    p = put_number(p, (uint64_t)day, 2);
    *p = '\0';
    return (size_t)(p - buffer);
}

/* Reads exactly count digits at *p and moves it. Returns -1 when they are not there. */
static int take_digits(const char **p, const char *end, int count)
{
    if (end - *p < count)
        return -1;
    int value = 0;
    for (int i = 0; i < count; i++) {
        char c = (*p)[i];
        if (c < '0' || c > '9')
            return -1;
        value = value * 10 + (c - '0');
    }
    *p += count;
    return value;
}

static bool take_char(const char **p, const char *end, char c)
{
    if (*p == end || **p != c)
        return false;
    (*p)++;
    return true;
}

static bool take_date(const char **p, const char *end, int64_t *ret_days)
{
    static const int LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = take_digits(p, end, 4);
    if (year < 1 || !take_char(p, end, '-'))
        return false;
    int month = take_digits(p, end, 2);
    if (month < 1 || month > 12 || !take_char(p, end, '-'))
        return false;
    int day = take_digits(p, end, 2);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int length = LENGTHS[month - 1] + (month == 2 && leap);
    if (day < 1 || day > length)
        return false;
    *ret_days = days_from_civil(year, month, day);
    return true;
}

/* Z, +HH:MM or -HH:MM, in microseconds east of UTC. */
static bool take_zone(const char **p, const char *end, int64_t *ret_us)
{
    *ret_us = 0;
    if (take_char(p, end, 'Z'))
        return true;
    if (*p == end || (**p != '+' && **p != '-'))
        return false;
    int64_t sign = **p == '+' ? 1 : -1;
    (*p)++;
    int hours = take_digits(p, end, 2);
    if (hours < 0 || hours > 15 || !take_char(p, end, ':'))
        return false;
    int minutes = take_digits(p, end, 2);
    if (minutes < 0 || minutes > 59)
        return false;
    *ret_us = sign * (hours * 60 + minutes) * 60 * US_PER_SECOND;
    return true;
}

/* HH:MM[:SS[.fraction]], in microseconds since midnight. */
static bool take_clock(const char **p, const char *end, int64_t *ret_us)
{
    int hour = take_digits(p, end, 2);
    if (hour < 0 || hour > 23 || !take_char(p, end, ':'))
        return false;
    int minute = take_digits(p, end, 2);
    if (minute < 0 || minute > 59)
        return false;
    int second = 0;
    int64_t fraction = 0;
    if (take_char(p, end, ':')) {
        second = take_digits(p, end, 2);
        if (second < 0 || second > 59)
            return false;
        if (take_char(p, end, '.')) {
            int64_t unit = US_PER_SECOND / 10;
            const char *first = *p;
            for (; *p < end && **p >= '0' && **p <= '9'; (*p)++, unit /= 10)
                fraction += (**p - '0') * unit;
            if (*p == first)
                return false;
        }
    }
    *ret_us = ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + fraction;
    return true;
}

bool clock_parse_time(struct text text, int64_t *ret_unix_us)
{
    const char *p = text.data;
    const char *end = p ? p + text.len : NULL;
    int64_t days;
    int64_t within = 0;
    int64_t zone = 0;
    if (!p || !take_date(&p, end, &days))
        return false;
    if (p != end &&
        (!take_char(&p, end, 'T') || !take_clock(&p, end, &within) || !take_zone(&p, end, &zone)))
        return false;
    if (p != end)
        return false;
    *ret_unix_us = days * US_PER_DAY + within - zone;
    return true;
}
