// Classifies an image by a model with its preprocessing inside.
// Usage: classify RUN/models/winner-1/int8-image.onnx photo.ppm

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Image {
  int64_t height, width, channels;
  std::vector<uint8_t> bytes;  // height x width x channels
};

// A binary PGM (one channel) or PPM (three) of 8 bits, without comments.
Image read_image(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int64_t width = 0, height = 0, most = 0;
  file >> kind >> width >> height >> most;
  file.get();
  if (!file || (kind != "P5" && kind != "P6") || most != 255)
    throw std::runtime_error(path + " must be a binary PGM or PPM of 8 bits: magick photo.jpg photo.ppm");
  Image image{height, width, kind == "P6" ? 3 : 1, {}};
  image.bytes.resize(static_cast<size_t>(height * width * image.channels));
  if (!file.read(reinterpret_cast<char*>(image.bytes.data()), static_cast<std::streamsize>(image.bytes.size())))
    throw std::runtime_error(path + " must hold all of its pixels");
  return image;
}

std::vector<std::string> read_labels(const Ort::Session& session) {
  Ort::AllocatorWithDefaultOptions allocator;
  const auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated("labels", allocator);
  if (!text) throw std::runtime_error("the model must tell its labels");
  std::istringstream lines(text.get());
  std::vector<std::string> labels;
  for (std::string line; std::getline(lines, line);) labels.push_back(line);
  return labels;
}

void classify(const char* model, const char* path) {
  Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "classify");
  Ort::Session session(env, std::filesystem::path(model).c_str(), Ort::SessionOptions{});
  Image image = read_image(path);
  const int64_t channels = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape()[3];
  if (image.channels != channels)
    throw std::runtime_error(std::string(path) + " must have " + std::to_string(channels) + " channels");

  const std::vector<int64_t> shape{1, image.height, image.width, image.channels};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto input =
      Ort::Value::CreateTensor<uint8_t>(memory, image.bytes.data(), image.bytes.size(), shape.data(), shape.size());
  const char* given[] = {"image"};
  const char* returned[] = {"probabilities"};
  auto outputs = session.Run(Ort::RunOptions{}, given, &input, 1, returned, 1);

  const float* probabilities = outputs[0].GetTensorMutableData<float>();
  const auto labels = read_labels(session);
  std::vector<size_t> order(labels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return probabilities[a] > probabilities[b]; });
  for (size_t place = 0; place < std::min<size_t>(3, order.size()); ++place)
    std::printf("%.6f %s\n", probabilities[order[place]], labels[order[place]].c_str());
}

int main(int count, char** words) {
  if (count != 3) {
    std::fprintf(stderr, "Usage: classify RUN/models/winner-1/int8-image.onnx photo.ppm\n");
    return 1;
  }
  try {
    classify(words[1], words[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
