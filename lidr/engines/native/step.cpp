// What a decoding step of a decoder layer computes besides its matrix products, for a CPU.
//
// A token's values are computed by one thread in one order, whatever else is in the pass: which rows lie beside it,
// how many guesses stand behind it and how much room its cohort has change no bit.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace {

constexpr int64_t kLanes = 16;         // of a vector; compilers divide it where registers are narrower
constexpr int64_t kPair = 2 * kLanes;  // values that are loaded together
constexpr int64_t kKeys = 4;           // whose scores are summed up together
constexpr int kQueries = 4;            // that read keys and values together, at most
constexpr int64_t kTask = 16;          // queries that a thread takes together, at most

typedef float Floats __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef float Eight __attribute__((vector_size(32)));
typedef float Four __attribute__((vector_size(16)));

struct Bf16 {
  uint16_t bits;
};

inline int thread() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

template <typename V> inline V at(const void *from) {
  V found;
  std::memcpy(&found, from, sizeof found);
  return found;
}

inline float as_float(float value) { return value; }
inline float as_float(Bf16 value) {
  uint32_t bits = (uint32_t)value.bits << 16;
  return at<float>(&bits);
}

// To the nearest, of two the even one; what is no number stays none.
inline Words rounded(Floats values) {
  Words bits = (Words)values;
  return values == values ? bits + 0x7fff + ((bits >> 16) & 1) : bits | 0x400000;
}
inline void assign(float value, float *to) { *to = value; }
inline void assign(float value, Bf16 *to) {
  uint32_t bits = at<uint32_t>(&value);
  to->bits = (value == value ? bits + 0x7fff + ((bits >> 16) & 1) : bits | 0x400000) >> 16;
}

// Values of a row; those of bf16 as even and odd places, which takes fewer instructions than their order.
struct Pair {
  Floats one, other;
};
inline Pair load(const float *from) { return {at<Floats>(from), at<Floats>(from + kLanes)}; }
inline Pair load(const Bf16 *from) {
  Words words = at<Words>(from);
  return {(Floats)(words << 16), (Floats)(words & 0xffff0000)};
}
inline void store(float *to, Pair values) { std::memcpy(to, &values, sizeof values); }
inline void store(Bf16 *to, Pair values) {
  Words words = rounded(values.one) >> 16 | (rounded(values.other) & 0xffff0000);
  std::memcpy(to, &words, sizeof words);
}

// Of each four neighbours two of one vector and two of the other.
template <int a, int b, int c, int d> inline Floats mixed(Floats one, Floats other) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(one, other, a, b, c, d, a + 4, b + 4, c + 4, d + 4, a + 8, b + 8, c + 8, d + 8,
                                 a + 12, b + 12, c + 12, d + 12);
#else
  return __builtin_shuffle(one, other, (Ints){a, b, c, d, a + 4, b + 4, c + 4, d + 4, a + 8, b + 8, c + 8, d + 8,
                                              a + 12, b + 12, c + 12, d + 12});
#endif
}

inline Four narrowed(Floats values) {
  Eight sum = at<Eight>(&values) + at<Eight>((const char *)&values + sizeof(Eight));
  return at<Four>(&sum) + at<Four>((const char *)&sum + sizeof(Four));
}

// The sums of four vectors.
inline Four sums(Floats a, Floats b, Floats c, Floats d) {
  Floats ab = mixed<0, 16, 1, 17>(a, b) + mixed<2, 18, 3, 19>(a, b);
  Floats cd = mixed<0, 16, 1, 17>(c, d) + mixed<2, 18, 3, 19>(c, d);
  return narrowed(mixed<0, 1, 16, 17>(ab, cd) + mixed<2, 3, 18, 19>(ab, cd));
}

inline float sum(Floats values) {
  Four four = narrowed(values);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

// e^x of what is at most 0, to 2 units in the last place; below -87 that of -87.
inline Floats exponential(Floats x) {
  const Floats least = Floats{} - 87.0f;
  x = x > least ? x : least;
  Floats whole = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f;
  Floats rest = x - whole * 0.693359375f;
  rest = rest - whole * -2.12194440e-4f;
  Floats found = Floats{} + 1.9875691500e-4f;
  found = found * rest + 1.3981999507e-3f;
  found = found * rest + 8.3334519073e-3f;
  found = found * rest + 4.1665795894e-2f;
  found = found * rest + 1.6666665459e-1f;
  found = found * rest + 5.0000001201e-1f;
  found = found * rest * rest + rest + 1.0f;
  Ints power = (__builtin_convertvector(whole, Ints) + 127) << 23;
  return found * (Floats)power;
}

// Queries of one row that share keys, what they have seen of it, and where their results go.
template <typename T> struct Tile {
  const float *query[kQueries];
  int64_t end[kQueries];
  T *out[kQueries];
};

template <typename T, int Q>
void score(const Tile<T> &tile, const T *keys, int64_t width, int64_t room, int64_t last, float *scores) {
  for (int64_t key = 0; key < last; key += kKeys) {
    Floats found[Q][kKeys] = {};
    for (int64_t i = 0; i < width; i += kPair) {
      Pair own[kKeys];
      for (int k = 0; k < kKeys; ++k) own[k] = load(keys + (key + k) * width + i);
      for (int q = 0; q < Q; ++q) {
        Pair query = load(tile.query[q] + i);
        for (int k = 0; k < kKeys; ++k) {
          found[q][k] += query.one * own[k].one;
          found[q][k] += query.other * own[k].other;
        }
      }
    }
    for (int q = 0; q < Q; ++q) {
      Four four = sums(found[q][0], found[q][1], found[q][2], found[q][3]);
      std::memcpy(scores + q * room + key, &four, sizeof four);
    }
  }
}

// Makes weights of scores, none of those past the end; returns what their sum divides.
inline float weigh(float *scores, int64_t end, int64_t last) {
  const Ints places = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  int64_t padded = (last + kLanes - 1) / kLanes * kLanes;
  std::fill(scores + end, scores + padded, -INFINITY);
  Floats most = at<Floats>(scores);
  for (int64_t key = kLanes; key < end; key += kLanes) {
    Floats next = at<Floats>(scores + key);
    most = next > most ? next : most;
  }
  float highest = most[0];
  for (int lane = 1; lane < kLanes; ++lane) highest = std::max(highest, most[lane]);
  Floats total = {};
  for (int64_t key = 0; key < padded; key += kLanes) {
    Ints hidden = places + (int32_t)key >= (int32_t)end;
    Floats weight = hidden ? Floats{} : exponential(at<Floats>(scores + key) - highest);
    total += weight;
    std::memcpy(scores + key, &weight, sizeof weight);
  }
  return 1.0f / sum(total);
}

template <typename T, int Q, int P>
void mix(const Tile<T> &tile, const T *values, int64_t width, int64_t room, int64_t last, const float *weights,
         const float *share, int64_t from) {
  Pair found[Q][P] = {};
  for (int64_t key = 0; key < last; ++key) {
    Pair own[P];
    for (int p = 0; p < P; ++p) own[p] = load(values + key * width + from + p * kPair);
    for (int q = 0; q < Q; ++q) {
      float weight = weights[q * room + key];
      for (int p = 0; p < P; ++p) {
        found[q][p].one += weight * own[p].one;
        found[q][p].other += weight * own[p].other;
      }
    }
  }
  for (int q = 0; q < Q; ++q)
    for (int p = 0; p < P; ++p)
      store(tile.out[q] + from + p * kPair, {found[q][p].one * share[q], found[q][p].other * share[q]});
}

template <typename T, int Q>
void attend(const Tile<T> &tile, const T *keys, const T *values, int64_t width, int64_t room, float *scores) {
  int64_t last = *std::max_element(tile.end, tile.end + Q);
  score<T, Q>(tile, keys, width, room, last, scores);
  float share[Q];
  for (int q = 0; q < Q; ++q) share[q] = weigh(scores + q * room, tile.end[q], last);
  int64_t from = 0;
  for (; from + 2 * kPair <= width; from += 2 * kPair)
    mix<T, Q, 2>(tile, values, width, room, last, scores, share, from);
  if (from < width) mix<T, Q, 1>(tile, values, width, room, last, scores, share, from);
}

// Rotary position embeddings (arXiv 2104.09864); without cosines a copy.
template <typename T>
inline void turn(const T *__restrict from, const T *cos, const T *sin, int64_t width, float scale, float *__restrict to) {
  int64_t half = width / 2;
  if (cos == nullptr) {
    for (int64_t i = 0; i < width; ++i) to[i] = as_float(from[i]) * scale;
    return;
  }
  for (int64_t i = 0; i < half; ++i)
    to[i] = (as_float(from[i]) * as_float(cos[i]) - as_float(from[i + half]) * as_float(sin[i])) * scale;
  for (int64_t i = half; i < width; ++i)
    to[i] = (as_float(from[i]) * as_float(cos[i]) + as_float(from[i - half]) * as_float(sin[i])) * scale;
}

// To the order of a pair of T.
template <typename T> inline void arrange(float *values, int64_t width) {
  if (sizeof(T) == sizeof(float)) return;
  for (int64_t i = 0; i < width; i += kPair) {
    float own[kPair];
    std::memcpy(own, values + i, sizeof own);
    for (int64_t k = 0; k < kLanes; ++k) {
      values[i + k] = own[2 * k];
      values[i + kLanes + k] = own[2 * k + 1];
    }
  }
}

}  // namespace

extern "C" {

// The newest tokens of a cohort's rows, in a layer; strides are in elements.
struct Step {
  int64_t rows, heads, kv_heads, width, room, threads;
  int64_t parts;           // tasks of a row and head of keys, at most
  const int64_t *starts;   // (rows + 1) of each row's tokens
  const int64_t *lengths;  // (rows) keys that were there before
  const void *query, *key, *value;
  int64_t query_token, query_head, key_token, key_head, value_token, value_head;
  const void *cos, *sin;  // (tokens, width), or none
  void *keys, *values;    // (rows, kv_heads, room, width)
  void *out;              // (tokens, heads, width)
  float *turned;          // (tokens, heads, width), for what is computed on the way, and
  float *scores;          // (threads, kQueries, room)
  float scale;
};
}

namespace {

// Keeps a token's key and value at its place, and turns its queries.
template <typename T> void keep(const Step &step, int64_t row, int64_t token) {
  const int64_t width = step.width, place = step.lengths[row] + token - step.starts[row];
  const T *cos = step.cos ? (const T *)step.cos + token * width : nullptr;
  const T *sin = step.sin ? (const T *)step.sin + token * width : nullptr;
  float *queries = step.turned + token * step.heads * width;
  for (int64_t head = 0; head < step.kv_heads; ++head) {
    const int64_t to = ((row * step.kv_heads + head) * step.room + place) * width;
    turn((const T *)step.key + token * step.key_token + head * step.key_head, cos, sin, width, 1.0f, queries);
    for (int64_t i = 0; i < width; ++i) assign(queries[i], (T *)step.keys + to + i);
    const T *value = (const T *)step.value + token * step.value_token + head * step.value_head;
    std::memcpy((T *)step.values + to, value, width * sizeof(T));
  }
  for (int64_t head = 0; head < step.heads; ++head, queries += width) {
    turn((const T *)step.query + token * step.query_token + head * step.query_head, cos, sin, width, step.scale,
         queries);
    arrange<T>(queries, width);
  }
}

// Attention of some of a row's queries that share keys, counted head by head of each token.
template <typename T>
void attend_some(const Step &step, int64_t row, int64_t kv_head, int64_t first, int64_t last, float *scores) {
  const int64_t width = step.width, shared = step.heads / step.kv_heads;
  const int64_t from = (row * step.kv_heads + kv_head) * step.room * width;
  const T *keys = (const T *)step.keys + from, *values = (const T *)step.values + from;
  Tile<T> tile;
  int waiting = 0;
  for (int64_t q = first; q < last; ++q) {
    const int64_t i = q / shared, head = kv_head * shared + q % shared;
    const int64_t own = ((step.starts[row] + i) * step.heads + head) * width;
    tile.query[waiting] = step.turned + own;
    tile.end[waiting] = step.lengths[row] + i + 1;
    tile.out[waiting] = (T *)step.out + own;
    if (++waiting < kQueries && q + 1 < last) continue;
    switch (waiting) {
      case 1: attend<T, 1>(tile, keys, values, width, step.room, scores); break;
      case 2: attend<T, 2>(tile, keys, values, width, step.room, scores); break;
      case 3: attend<T, 3>(tile, keys, values, width, step.room, scores); break;
      default: attend<T, 4>(tile, keys, values, width, step.room, scores);
    }
    waiting = 0;
  }
}

template <typename T> void attend_all(const Step &step) {
  const int64_t shared = step.heads / step.kv_heads;
#pragma omp parallel num_threads(step.threads)
  {
#pragma omp for schedule(static)
    for (int64_t row = 0; row < step.rows; ++row)
      for (int64_t token = step.starts[row]; token < step.starts[row + 1]; ++token) keep<T>(step, row, token);
    float *scores = step.scores + thread() * kQueries * step.room;
#pragma omp for schedule(dynamic) collapse(2)
    for (int64_t row = 0; row < step.rows; ++row)
      for (int64_t some = 0; some < step.kv_heads * step.parts; ++some) {
        const int64_t count = (step.starts[row + 1] - step.starts[row]) * shared;
        const int64_t first = some / step.kv_heads * kTask, last = std::min(first + kTask, count);
        if (first < last) attend_some<T>(step, row, some % step.kv_heads, first, last, scores);
      }
  }
}

// Root mean square norm (arXiv 1910.07467).
template <typename T>
void norm_all(const T *x, const T *weight, T *out, int64_t rows, int64_t width, float epsilon, int64_t threads) {
#pragma omp parallel for num_threads(threads) if (rows * width >= 1 << 17)
  for (int64_t row = 0; row < rows; ++row) {
    const T *own = x + row * width;
    Floats squares = {};
    for (int64_t i = 0; i < width; i += kPair) {
      Pair values = load(own + i);
      squares += values.one * values.one + values.other * values.other;
    }
    float scale = 1.0f / std::sqrt(sum(squares) / width + epsilon);
    for (int64_t i = 0; i < width; i += kPair) {
      Pair values = load(own + i), by = load(weight + i);
      store(out + row * width + i, {values.one * scale * by.one, values.other * scale * by.other});
    }
  }
}

}  // namespace

extern "C" {

void lidr_attend_fp32(const Step *step) { attend_all<float>(*step); }
void lidr_attend_bf16(const Step *step) { attend_all<Bf16>(*step); }

void lidr_norm_fp32(const float *x, const float *weight, float *out, int64_t rows, int64_t width, float epsilon,
                    int64_t threads) {
  norm_all(x, weight, out, rows, width, epsilon, threads);
}
void lidr_norm_bf16(const void *x, const void *weight, void *out, int64_t rows, int64_t width, float epsilon,
                    int64_t threads) {
  norm_all((const Bf16 *)x, (const Bf16 *)weight, (Bf16 *)out, rows, width, epsilon, threads);
}
}
